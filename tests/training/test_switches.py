"""Runs with switches that most runs do without: what each leaves, and that a resume gives the bits of one go."""

import os
import signal
from pathlib import Path

import pytest

from commandline import TINY, assert_equal, at_batch, checkpoint_of, rows_of, train, trained, untimed

pytestmark = pytest.mark.usefixtures("workdir")

STATE = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "train_meter")


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def assert_same_training(one: Path, other: Path, *parts: str, which: str = "last"):
    """What a checkpoint holds and the rows are equal to the bit."""
    left, right = checkpoint_of(one, which), checkpoint_of(other, which)
    for part in (*STATE, *parts):
        assert_equal(left[part], right[part], part)
    assert untimed(one / "metrics.csv") == untimed(other / "metrics.csv")


def test_a_warm_up_goes_on_where_it_stopped(monkeypatch, tmp_path):
    """Two epochs of four steps each; the rows have the rate of the step after an epoch."""
    arguments = ["epochs=3", "optim.warmup_epochs=2", "optim.lr=0.08", "optim.schedule=steps", "optim.milestones=[9]"]
    whole = trained(tmp_path / "whole", *arguments)
    assert [float(row["lr/backbone"]) for row in rows_of(whole / "metrics.csv")] == pytest.approx([0.05, 0.08, 0.08])
    at_batch(monkeypatch, 0, 2, interrupt)
    assert train(*TINY, *arguments, "hydra.run.dir=run").code == 130
    assert train("resume=run").code == 0
    assert_same_training(Path("run"), whole)
