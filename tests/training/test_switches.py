"""Runs with switches that most runs do without: what each leaves, and that a resume gives the bits of one go."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from commandline import (
    TINY,
    assert_equal,
    at_batch,
    checkpoint_of,
    copy_of,
    evaluate_clean,
    refusal,
    rows_of,
    train,
    trained,
    untimed,
)
from p2be_exp import load_run
from p2be_exp.runs.run import Run

pytestmark = pytest.mark.usefixtures("workdir")

STATE = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "train_meter")

SWITCHES = {
    *("checkpoint_every", "early_stop", "warmup_epochs", "ema", "ema_from"),
    *("deterministic", "fast_dev_run", "profile"),
}
"""Their keys."""


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


def test_a_training_that_gets_no_better_stops_and_stays_stopped(monkeypatch, tmp_path):
    """With a rate so small that no image of the validation split changes sides, after the third epoch."""
    arguments = ["dataset.val_size=20", "epochs=9", "early_stop=2", "optim.lr=1e-9", "optim.table_lr=1e-12"]
    whole = trained(tmp_path / "whole", *arguments, "trainer.progress=true")
    rows = rows_of(whole / "metrics.csv")
    errors = [float(row["val/error"]) for row in rows]
    best = errors.index(min(errors))
    assert len(rows) == best + 1 + 2 < 9  # two epochs after the lowest
    info = Run(whole).info()
    assert info["stopped_early"] == {"epoch": len(rows), "best_epoch": best + 1, "val_error": errors[best]}
    assert Run(whole).status()["state"] == "finished"
    assert float(rows[-1]["lr/backbone"]) > 0.5e-9  # the cosine is that of nine epochs

    at_batch(monkeypatch, 1, 2, interrupt)
    assert train(*TINY, *arguments, "hydra.run.dir=run").code == 130
    resumed = train("resume=run")
    assert resumed.code == 0
    told = f"early_stop=2: stopped after epoch {len(rows)} of 9; the lowest validation error, {errors[best]:.2f} %, was"
    assert told in resumed.out
    assert "9 epochs of 4 batches of 8, fewer after 2 without a lower validation error;" in resumed.out
    assert_same_training(Path("run"), whole)

    at_batch(monkeypatch, len(rows), 0, lambda: pytest.fail("trained on"))
    again = train("resume=run")
    assert again.code == 0
    assert "resumed" not in again.out
    assert_same_training(Path("run"), whole)
    assert refusal(train("resume=run", "early_stop=3")).startswith("early_stop: a resumed run keeps its own value;")


def test_an_average_of_the_weights_is_kept_beside_them(monkeypatch, tmp_path):
    """In a key of its own, from the second epoch on; what is trained, and called last, does not change by a bit."""
    arguments = ["epochs=3", "optim.accumulate=2", "optim.clip_norm=1"]
    averaged = [*arguments, "optim.ema=0.9", "optim.ema_from=1", "encoding.lambda_smooth=0.5"]
    arguments.append("encoding.lambda_smooth=0.5")
    without, whole = trained(tmp_path / "without", *arguments), trained(tmp_path / "whole", *averaged)
    assert_same_training(whole, without)
    assert "ema" not in checkpoint_of(without)
    assert untimed(whole / "results.csv") == untimed(without / "results.csv")
    average = checkpoint_of(whole)["ema"]
    assert average["count"] == 4  # two epochs of two steps

    at_batch(monkeypatch, 2, 2, interrupt)
    assert train(*TINY, *averaged, "hydra.run.dir=run").code == 130
    resumed = train("resume=run")
    assert resumed.code == 0
    assert "average of the weights, decay 0.9, after epoch 1; checkpoint=ema" in resumed.out
    assert_same_training(Path("run"), whole, "ema")
    for name in ("results.csv", "evaluations/ema/results.csv"):
        assert untimed(Path("run") / name) == untimed(whole / name)

    weights = {name.removeprefix("model."): each for name, each in average["weights"].items()}
    last, model = load_run("run"), load_run("run", checkpoint="ema")
    assert {"encoding.weight", "stem.weight"} < weights.keys()
    for name, each in model.state_dict().items():
        assert torch.equal(each, weights.get(name, last.state_dict()[name])), name
    assert not torch.equal(model.encoding.weight, last.encoding.weight)
    results = json.loads(Path("run/evaluations/ema/results.json").read_text())
    assert results["settings"]["checkpoint"] == "ema"
    assert evaluate_clean("run=run", "checkpoint=ema", "name=again", "limit_test=40").code == 0
    rows = [untimed(Path("run/evaluations") / name / "results.csv") for name in ("ema", "again")]
    assert rows[0] == rows[1]


def test_a_checkpoint_without_an_average_is_said_to_have_none(workdir, four_epochs):
    copy_of(four_epochs, workdir / "run")
    told = "run=run: checkpoints/last.ckpt has no average of the weights (optim.ema, from optim.ema_from epochs on)"
    assert refusal(evaluate_clean("run=run", "checkpoint=ema")) == told


def test_a_trial_goes_all_the_way_and_cannot_be_taken_for_a_training():
    """Two batches of eight images and eight test images, whatever else is asked for; resumed as it is."""
    arguments = [*TINY, "epochs=7", "batch_size=16", "limit_train=100", "dataset.val_size=30", "optim.warmup_epochs=5"]
    outcome = train(*arguments, "optim.ema=0.9", "optim.ema_from=4", "trainer.fast_dev_run=true", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert "note    not the paper's recipe: trainer.fast_dev_run=true: a trial of two small batches" in outcome.out
    run = Path("run")
    assert checkpoint_of(run)["global_step"] == 2
    assert [row["n"] for row in rows_of(run / "results.csv")] == ["8"]
    config = Run(run).config()
    assert (config.epochs, config.batch_size, config.limit_train, config.dataset.val_size) == (1, 8, 16, 8)
    assert config.departs_from_paper == "trainer.fast_dev_run=true: a trial of two small batches"
    assert names(run) == ["best.ckpt", "last.ckpt"]
    assert train("resume=run").code == 0
    told = refusal(train("resume=run", "trainer.fast_dev_run=true"))
    assert told.startswith("trainer.fast_dev_run: a resumed run keeps its own value; resume= accepts only trainer, ")
    told = refusal(evaluate_clean("run=run", "trainer.fast_dev_run=true"))
    assert told == "trainer.fast_dev_run=true: is for train.py; use limit_test=N for a few test images"


def test_a_profile_of_some_steps_changes_nothing(monkeypatch, four_epochs, capfd):
    """After a resume with nine steps left: two are passed over, two warm up, five are recorded."""
    at_batch(monkeypatch, 1, 2, interrupt)
    assert train(*TINY, "epochs=4", "hydra.run.dir=run").code == 130
    run = Path("run")
    assert not (run / "profile").exists()
    outcome = train("resume=run", "trainer.profile=true")
    assert outcome.code == 0, outcome.err
    assert "profile: 5 steps in run/profile, table.txt and trace.json" in outcome.out
    assert_same_training(run, four_epochs)
    table = (run / "profile" / "table.txt").read_text()
    assert table.startswith("5 steps\n")
    assert "aten::convolution_backward" in table
    trace = json.loads((run / "profile" / "trace.json").read_text())
    steps = [event["name"] for event in trace["traceEvents"] if event.get("name", "").startswith("ProfilerStep#")]
    assert len(set(steps)) == 5
    assert sorted(file.name for file in (run / "profile").iterdir()) == ["table.txt", "trace.json"]
    assert "ERROR" not in capfd.readouterr().err  # of the profiler's library, which finds no GPU
    assert "KINETO_LOG_LEVEL" not in os.environ


def test_a_run_from_before_the_switches_is_gone_on_with(monkeypatch, four_epochs):
    """Its configuration has none of their keys, and stays as it is."""
    at_batch(monkeypatch, 2, 1, interrupt)
    assert train(*TINY, "epochs=4", "hydra.run.dir=run").code == 130
    file = Path("run/config.yaml")
    older = "".join(line for line in file.read_text().splitlines(True) if line.strip().split(":")[0] not in SWITCHES)
    assert file.read_text().count("\n") - older.count("\n") == len(SWITCHES)
    file.write_text(older)
    assert train("resume=run").code == 0
    assert file.read_text() == older
    assert_same_training(Path("run"), four_epochs)
