"""Which trainings capture their steps, and what they say of it."""

from unittest import mock

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from commandline import TINY, assert_equal, checkpoint_of, refusal, train, trained, untimed
from p2be_exp.attacks.lspga import LSPGA
from p2be_exp.config.schema import TrainConfig
from p2be_exp.regimes import Standard
from p2be_exp.runs.run import Run
from p2be_exp.training.callbacks import CapturedSteps
from p2be_exp.training.capture_choice import WORTH_IT, foreign_modules, reason_against
from p2be_exp.training.captured_step import CapturedStep
from p2be_exp.training.module import TrainingModule
from small_training import small_config, small_data

GPU = torch.device("cuda")


def against(*overrides: str, device=GPU, processes: int = 1, steps: int = WORTH_IT) -> str | None:
    config = small_config(*overrides)
    return reason_against(config, TrainingModule(config, 10, 6), device, processes, steps)


@pytest.mark.parametrize("regime", ["standard", "augmix", "contrain", "advtrain", "trades", "mart"])
def test_long_trainings_on_a_gpu_are_captured(regime):
    assert against(f"regime={regime}") is None


@pytest.mark.parametrize(
    ("reason", "overrides", "settings"),
    [
        ("trainer.compile=off", ["trainer.compile=off"], {}),
        ("that is for NVIDIA GPUs", ["trainer.compile=on"], {"device": torch.device("cpu")}),
        ("that is for a single process", ["trainer.compile=on"], {"processes": 2}),
        ("not with optim.accumulate=2", ["optim.accumulate=2"], {}),
        ("not with optim.clip_norm=0.5", ["optim.clip_norm=0.5"], {}),
        ("not with regime=tenet as it is set", ["regime=tenet", "trainer.compile=on"], {}),
        ("not with regime=noisymix as it is set", ["regime=noisymix"], {}),
        ("not with regime=trades as it is set", ["regime=trades", "regime.awp_gamma=0.005"], {}),
        ("not with regime=advtrain as it is set", ["regime=advtrain", "attack@regime.attack=square"], {}),
        (f"{WORTH_IT - 1} steps are too few", [], {"steps": WORTH_IT - 1}),
    ],
)
def test_others_are_not(reason, overrides, settings):
    assert against(*overrides, **settings) == reason


def test_with_on_short_ones_are_too():
    assert against("trainer.compile=on", steps=1) is None


def test_what_a_plug_in_brings_has_to_say_so_itself():
    class Late(Standard):
        def loss(self, model, batch, epoch):
            return super().loss(model, batch, min(epoch, 5))

    class Same(Standard):
        capturable = True

    class Own(LSPGA):
        pass

    assert [kind(0, lambda images, random: images).capturable for kind in (Standard, Late, Same)] == [True, False, True]
    assert (LSPGA.capturable, Own.capturable) == (True, False)


def test_so_do_its_modules():
    class Foreign(nn.Module):
        pass

    class Known(nn.Module):
        capturable = True

    class Heir(Known):
        pass

    module = TrainingModule(small_config("regime=standard"), 10, 6)
    assert foreign_modules(module.model) == []
    module.model.trunk.more = nn.Sequential(Foreign(), Known(), Heir())
    assert [name.rpartition(".")[2] for name in foreign_modules(module.model)] == ["Foreign", "Heir"]


class OneStep(TrainingModule):
    """Ends after its first batch, with what takes its batches."""

    def on_train_batch_start(self, batch, batch_idx):
        self.found = self.whole_steps
        super().on_train_batch_start(batch, batch_idx)


def started(config: TrainConfig, folder) -> OneStep:
    module = OneStep(config, 10, 6)
    pl.Trainer(
        accelerator="cpu",
        max_steps=1,
        callbacks=[CapturedSteps(config)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    ).fit(module, small_data(config))
    return module


@pytest.mark.filterwarnings("ignore")
def test_a_training_that_is_captured_takes_batches_until_its_end(tmp_path, monkeypatch, capsys):
    config = small_config("regime=standard")
    asked = []
    monkeypatch.setattr("p2be_exp.training.callbacks.captured_steps.reason_against", lambda *all: asked.append(all))
    monkeypatch.setattr(CapturedStep, "take", lambda self, batch, epoch: False)
    module = started(config, tmp_path)
    assert isinstance(module.found, CapturedStep)
    assert module.found.batch_size == config.batch_size
    assert module.whole_steps is None
    assert capsys.readouterr().out == ""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("compile", "said"),
    [
        ("on", "compile: steps are not captured as a CUDA graph: that is for NVIDIA GPUs (trainer.compile=on)\n"),
        ("auto", ""),
        ("off", ""),
    ],
)
def test_on_a_cpu_it_is_said_where_it_was_asked_for(tmp_path, capsys, compile, said):
    module = started(small_config("regime=standard", f"trainer.compile={compile}"), tmp_path)
    assert module.found is None
    assert capsys.readouterr().out == said


def test_a_bad_value_is_one_line(workdir):
    assert refusal(train(*TINY, "trainer.compile=maybe")) == "trainer.compile=maybe: must be one of auto, on, off"


def test_a_run_keeps_the_word_and_may_be_resumed_with_another(workdir):
    """``off`` is no in YAML where it has no quotes."""
    run = trained("run", "epochs=1", "trainer.compile=off")
    assert Run.open(str(run)).config().trainer.compile == "off"
    outcome = train(f"resume={run}", "trainer.compile=on")
    assert outcome.code == 0, outcome.err


def test_a_run_whose_batches_are_taken_whole_writes_the_same(workdir, monkeypatch):
    """Rows, results and the checkpoint, optimizers and schedules included."""
    more = ["regime=augmix", "epochs=2", "limit_train=30"]
    usual = trained("usual", *more)
    taken = []

    def captured(self, step):
        taken.append(step)
        return mock.Mock(replay=step.run)

    monkeypatch.setattr("p2be_exp.training.callbacks.captured_steps.reason_against", lambda *all: None)
    monkeypatch.setattr(CapturedStep, "_captured", captured)
    whole = trained("whole", *more)
    assert len(taken) == 1
    for file in ("metrics.csv", "results.csv"):
        assert untimed(whole / file) == untimed(usual / file)
    one, other = (checkpoint_of(run) for run in (whole, usual))
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "train_meter"):
        assert_equal(one[key], other[key], key)
