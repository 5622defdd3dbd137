"""How a GPU computes float32: as the configuration says in a training, never as TF32 in an evaluation."""

import pytest
import torch

from commandline import copy_of, evaluate_clean
from p2be_exp.config import training_config
from p2be_exp.config.schema import TrainerConfig
from p2be_exp.evaluation import job
from p2be_exp.system import trainer
from p2be_exp.system.process_state import kept_process_state


def arithmetic():
    return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()


@pytest.fixture(autouse=True)
def unchanged():
    with kept_process_state():
        yield


@pytest.mark.parametrize(
    ("precision", "tf32", "expected"),
    [
        ("auto", None, (True, "high")),  # bf16 on a GPU
        ("32", None, (False, "highest")),
        ("bf16", None, (True, "high")),
        ("bf16", False, (False, "highest")),
    ],
)
def test_tf32_is_beside_bf16_alone_and_can_be_kept_out(precision, tf32, expected, monkeypatch):
    monkeypatch.setattr(trainer, "on_gpu", lambda config: True)
    monkeypatch.setattr(trainer.pl, "Trainer", lambda **settings: settings)
    monkeypatch.setattr(trainer, "take_no_signals", lambda made: None)
    made = trainer.build_trainer(training_config([f"trainer.precision={precision}"]).trainer, tf32=tf32)
    assert arithmetic() == expected
    assert "tf32" not in made


def test_on_a_cpu_nothing_is_set():
    before = arithmetic()
    for tf32 in (False, True):
        trainer.set_arithmetic(TrainerConfig(accelerator="cpu"), tf32=tf32)
        assert arithmetic() == before


@pytest.mark.parametrize("asked", [[], ["trainer.precision=32"]])
def test_an_evaluation_keeps_tf32_out_also_where_nothing_is_left_to_measure(workdir, four_epochs, monkeypatch, asked):
    """PyTorch's own default has convolutions in TF32, and what comes after the rows (the panel) asks the model too."""
    copy_of(four_epochs, workdir / "run")
    told = []
    monkeypatch.setattr(job, "set_arithmetic", lambda config, tf32: told.append(tf32))
    monkeypatch.setattr(trainer, "set_arithmetic", lambda config, tf32: told.append(tf32))
    assert evaluate_clean("run=run", "limit_test=10", "name=a", *asked).code == 0
    assert told == [False, False]
    assert evaluate_clean("run=run", "limit_test=10", "name=a", *asked).code == 0
    assert told == [False, False, False]
