"""A line where one thread would be faster, after the first steps; the training is the same to the bit."""

import copy
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from commandline import TINY, assert_equal, checkpoint_of, train, untimed
from p2be_exp.training import probes
from p2be_exp.training.callbacks import ThreadAdvice, thread_advice

SHOWN = [each for each in TINY if each != "trainer.progress=false"]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def two_cpus(monkeypatch):
    monkeypatch.setattr("p2be_exp.system.threads.usable_cpus", lambda: 2)


def seconds(monkeypatch, several: float, one: float) -> list[int]:
    """Let passes take these times; the numbers of threads that were tried."""
    tried = []

    def timed(run):
        tried.append(torch.get_num_threads())
        return one if tried[-1] == 1 else several

    monkeypatch.setattr(probes, "_seconds", timed)
    return tried


def test_one_thread_that_is_faster_is_told(workdir, monkeypatch, two_threads, two_cpus):
    tried = seconds(monkeypatch, several=3.1, one=1.0)
    monkeypatch.setattr("p2be_exp.training.job.cpu_computes_bf16", lambda: False)
    outcome = train(*SHOWN, "epochs=1", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("threads: OMP_NUM_THREADS=1 would be 3.1 times as fast here (2 threads are used)\n") == 1
    assert tried == [2, 1] * probes.ROUNDS
    assert torch.get_num_threads() == 2


def look(model=None) -> None:
    """Some steps of a training of a small network."""
    module = SimpleNamespace(model=model or nn.Linear(1, 1), device=torch.device("cpu"))
    trainer = SimpleNamespace(world_size=1, precision_plugin=SimpleNamespace(forward_context=nullcontext))
    batch = SimpleNamespace(images=torch.zeros(8, 3, 4, 4), labels=torch.arange(8))
    callback = ThreadAdvice()
    for step in range(thread_advice.AFTER + 2):
        callback.on_train_batch_end(trainer, module, None, batch, step)
    return callback


@pytest.mark.parametrize(("several", "one"), [(1.0, 1.9), (1.0, 1.0), (1.2, 1.0)])
def test_otherwise_nothing_is_said(monkeypatch, capsys, two_threads, several, one):
    tried = seconds(monkeypatch, several, one)
    look()
    assert tried == [2, 1] * probes.ROUNDS
    assert capsys.readouterr().out == ""


def test_with_one_thread_nothing_is_tried(monkeypatch, two_threads):
    tried = seconds(monkeypatch, 2.0, 1.0)
    torch.set_num_threads(1)
    look()
    assert tried == []


@pytest.mark.slow
def test_the_training_is_the_same_to_the_bit(workdir, two_threads, two_cpus):
    for name, arguments in (("with", SHOWN), ("without", TINY)):
        outcome = train(*arguments, "epochs=1", f"hydra.run.dir={name}")
        assert outcome.code == 0, outcome.err
    runs = [workdir / name for name in ("with", "without")]
    for part in ("state_dict", "optimizer_states", "train_meter"):
        assert_equal(*(checkpoint_of(run)[part] for run in runs), part)
    assert untimed(runs[0] / "metrics.csv") == untimed(runs[1] / "metrics.csv")


def test_a_look_changes_neither_the_network_nor_the_random_state(two_threads):
    """Dropout outside of a training step draws from PyTorch's random state; batch norm keeps means."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 10), nn.BatchNorm1d(10), nn.Dropout(0.5)).train()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    look(model)
    assert_equal(dict(model.state_dict()), dict(before))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == 2
