"""Runs with switches that most runs do without: what each leaves, and that a resume gives the bits of one go."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from commandline import (
    TINY,
    assert_equal,
    at_batch,
    checkpoint_of,
    evaluate_clean,
    refusal,
    rows_of,
    train,
    trained,
    untimed,
)

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


def names(run: Path) -> list[str]:
    return sorted(file.name for file in (run / "checkpoints").iterdir())


def test_checkpoints_that_stay_are_what_the_last_one_was(monkeypatch, four_epochs):
    """With one N to the end of the second epoch, another from there on; evaluated, and gone back to."""
    at_batch(monkeypatch, 2, 1, interrupt)
    assert train(*TINY, "epochs=4", "checkpoint_every=2", "hydra.run.dir=run").code == 130
    run = Path("run")
    assert names(run) == ["epoch_002.ckpt", "last.ckpt"]
    assert train("resume=run", "checkpoint_every=3").code == 0
    assert names(run) == ["epoch_002.ckpt", "epoch_003.ckpt", "last.ckpt"]
    assert_same_training(run, four_epochs)
    assert checkpoint_of(run, "epoch_003")["global_step"] == 12

    assert evaluate_clean("run=run", "checkpoint=epoch_002", "limit_test=10").code == 0
    results = json.loads((run / "evaluations" / "epoch_002_clean_random10" / "results.json").read_text())
    assert (results["settings"]["checkpoint"], results["settings"]["step"]) == ("epoch_002", 8)
    missing = refusal(evaluate_clean("run=run", "checkpoint=epoch_004"))
    assert missing == "run=run: no checkpoints/epoch_004.ckpt (kept by checkpoint_every=N after every N-th epoch)"

    for left in ("results.csv", "results.json", "per_image/clean.npz"):
        (run / left).unlink()
    shutil.copy(run / "checkpoints" / "epoch_002.ckpt", run / "checkpoints" / "last.ckpt")
    assert train("resume=run").code == 0
    assert_same_training(run, four_epochs)
