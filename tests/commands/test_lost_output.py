"""Nobody reads what a command prints, or a full disk takes it: it does what it would, and ends as it would."""

import contextlib
import io
import os
import pty
import sys
from pathlib import Path
from unittest import mock

import pytest

from commandline import ROOT, TINY, assert_equal, at_batch, checkpoint_of, copy_of, finish, rows_of, start_warm, untimed
from p2be_exp.commands import corruptions, evaluate, export, report, train
from p2be_exp.runs.run import Run

pytestmark = pytest.mark.usefixtures("workdir")

ONE_LINE = "error: stdout: cannot be written (No space left on device); no more output goes there\n"


@contextlib.contextmanager
def closed_pipe():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        yield stream


@contextlib.contextmanager
def full_disk():
    with Path("/dev/full").open("w") as stream:
        yield stream


def call(main, out, err, *arguments) -> int:
    """A command in this process that prints to these streams; its exit code."""
    with (
        mock.patch.object(sys, "argv", ["train.py", *map(str, arguments)]),
        mock.patch.dict(os.environ),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        return main()


def assert_trained(run, four_epochs):
    """It ended, with what a run ends with that somebody watched."""
    assert Run(run).status()["state"] == "finished"
    assert_equal(checkpoint_of(run)["state_dict"], checkpoint_of(four_epochs)["state_dict"])
    assert untimed(run / "metrics.csv") == untimed(four_epochs / "metrics.csv")
    assert len(rows_of(run / "results.csv")) == 1


def test_a_training_whose_pipes_are_closed(workdir, four_epochs):
    with closed_pipe() as out, closed_pipe() as err:
        code = call(train.main, out, err, *TINY, "epochs=4", "hydra.run.dir=run")
    assert code == 0
    assert_trained(workdir / "run", four_epochs)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_training_that_prints_to_a_full_disk(workdir, four_epochs):
    told = io.StringIO()
    with full_disk() as out:
        code = call(train.main, out, told, *TINY, "epochs=4", "hydra.run.dir=run")
    assert (code, told.getvalue()) == (0, ONE_LINE)
    assert_trained(workdir / "run", four_epochs)


def test_a_training_with_a_bar_whose_terminal_goes(workdir, four_epochs, monkeypatch):
    terminal, ours = pty.openpty()
    at_batch(monkeypatch, 1, 1, lambda: os.close(terminal))
    monkeypatch.setattr("p2be_exp.training.callbacks.progress.REFRESH", 0.0)
    with os.fdopen(ours, "w") as stream:
        assert stream.isatty()
        code = call(train.main, stream, stream, *TINY, "epochs=4", "trainer.progress=true", "hydra.run.dir=run")
        assert not stream.isatty()
    assert code == 0
    assert_trained(workdir / "run", four_epochs)


def test_the_jobs_of_a_sweep(workdir):
    arguments = [*TINY, "epochs=1", "limit_train=16", "limit_test=10", "hydra.sweep.dir=sweep"]
    with closed_pipe() as out, closed_pipe() as err:
        code = call(train.main, out, err, "-m", *arguments, "seed=0,1")
    assert code == 0
    assert [Run(f"sweep/{number}").status()["state"] for number in "01"] == ["finished"] * 2


def test_evaluate_make_export_and_report(workdir, four_epochs):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    run = copy_of(four_epochs, workdir / "run")
    clean = ["corruption=none", "attack=none", "trainer.progress=false"]
    for main, *arguments in (
        (evaluate.main, f"run={run}", "name=again", *clean),
        (corruptions.main, "make", "dataset=digits", "limit_test=4", "names=[fog]", "out=c"),
        (export.main, f"run={run}", "out=model.pt2"),
        (report.main, run, "out=report"),
    ):
        told = io.StringIO()
        with full_disk() as out:
            assert (call(main, out, told, *arguments), told.getvalue()) == (0, ONE_LINE)
    for file in (run / "evaluations/again/results.csv", Path("c/fog.npy"), Path("model.pt2"), Path("report/report.md")):
        assert file.is_file(), file


def test_a_comparison_that_nothing_keeps_fails_on_a_full_disk(four_epochs, with_validation):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    told = io.StringIO()
    with full_disk() as out:
        assert call(report.main, out, told, "compare", four_epochs, with_validation) == 1
    assert told.getvalue() == ONE_LINE


@pytest.mark.slow
def test_head_takes_the_first_line_of_a_training(workdir, four_epochs):
    process = start_warm(ROOT / "train.py", *TINY, "epochs=4", "hydra.run.dir=run", cwd=workdir)
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    outcome = finish(process)
    assert (outcome.code, outcome.err) == (0, "")
    assert_trained(workdir / "run", four_epochs)
