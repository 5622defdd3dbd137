"""The two commands as the tests call them: in this process, or as a process of their own."""

import contextlib
import csv
import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from matplotlib.figure import Figure

from one_pixel import save_one_pixel
from p2be_exp.commands import corruptions as corruptions_command
from p2be_exp.commands import evaluate as evaluate_command
from p2be_exp.commands import export as export_command
from p2be_exp.commands import published as published_command
from p2be_exp.commands import report as report_command
from p2be_exp.commands import tracking as tracking_command
from p2be_exp.commands import train as train_command
from p2be_exp.evaluation import progress as evaluation_progress
from p2be_exp.training.callbacks import progress
from p2be_exp.training.callbacks.epoch_rows import TIMINGS
from p2be_exp.training.module import TrainingModule
from warm_process import WarmProcess

ROOT = Path(__file__).parents[1]
HANGS = 600.0
"""Seconds after which a process hangs: nothing else is decided by it, so it is long enough for a busy machine."""

QUICKSTART = (
    "experiment=quickstart",
    "corruption=none",
    "attack=none",
    "limit_train=32",
    "limit_test=40",
    "batch_size=8",
    "epochs=2",
    "trainer.progress=false",
)
"""Four batches an epoch; trains and evaluates clean images in about a second."""
TINY = (*QUICKSTART, "encoding.M=8")


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def train(*arguments, program: str = "train.py") -> Outcome:
    """``train.py`` in this process, or the program that is installed."""
    return _call(train_command.main, program, arguments)


def evaluate(*arguments, program: str = "evaluate.py") -> Outcome:
    """``evaluate.py`` in this process, or the program that is installed."""
    return _call(evaluate_command.main, program, arguments)


def evaluate_clean(*arguments) -> Outcome:
    """``evaluate.py`` in this process, without corruptions and attacks."""
    return evaluate(*arguments, "corruption=none", "attack=none")


def corruptions(*arguments) -> Outcome:
    """``python -m p2be_exp.corruptions`` in this process."""
    return _call(corruptions_command.main, "__main__.py", arguments)


def export(*arguments) -> Outcome:
    """``python -m p2be_exp.export`` in this process."""
    return _call(export_command.main, "__main__.py", arguments)


def published(*arguments) -> Outcome:
    """``python -m p2be_exp.published`` in this process."""
    return _call(published_command.main, "__main__.py", arguments)


def report(*arguments) -> Outcome:
    """``python -m p2be_exp.report`` in this process."""
    return _call(report_command.main, "__main__.py", arguments)


def compare(*arguments) -> Outcome:
    """``python -m p2be_exp.report compare`` in this process."""
    return report("compare", *arguments)


def tracking(*arguments) -> Outcome:
    """``python -m p2be_exp.tracking`` in this process."""
    return _call(tracking_command.main, "__main__.py", arguments)


def trained(folder, *arguments) -> Path:
    """Train in a folder, which has to succeed; the folder."""
    outcome = train(*TINY, *arguments, f"hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.err
    return Path(folder)


def refusal(outcome: Outcome) -> str:
    """The one line with which a command refused its input."""
    assert outcome.code == 2, outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("error: "), outcome.err
    return outcome.err.removeprefix("error: ").rstrip("\n")


def start(script: Path, *arguments, cwd: Path) -> subprocess.Popen:
    """A Python script as a process of its own, with one thread."""
    return subprocess.Popen(
        [sys.executable, str(script), *arguments],
        cwd=cwd,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_warm(script: Path, *arguments, cwd: Path, spares: int = 0) -> WarmProcess:
    """As :func:`start`, without the seconds in which PyTorch is imported: where the start is not what is tested.

    Args:
        script: what is run.
        arguments: of it.
        cwd: where.
        spares: so many of the scripts that it starts are started in this way, too.
    """
    return WarmProcess(script, *map(str, arguments), cwd=cwd, env=_environment(), spares=spares)


def finish(process: subprocess.Popen | WarmProcess) -> Outcome:
    """Wait for the end of a process."""
    try:
        out, err = process.communicate(timeout=HANGS)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"no end after {HANGS:.0f} s\n{out}\n{err}") from None
    return Outcome(process.returncode, out, err)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen | WarmProcess | None = None) -> None:
    """Look until a condition holds, or the process that is to make it hold has ended."""
    deadline = time.monotonic() + HANGS
    while not condition() and (process is None or process.poll() is None):
        assert time.monotonic() < deadline, "it hangs"
        time.sleep(0.01)


def copy_of(run: Path, folder: Path) -> Path:
    """A copy of a run folder that a test may change."""
    return Path(shutil.copytree(run, folder))


def at_batch(monkeypatch, epoch: int, batch: int, action) -> None:
    """Call ``action`` once, in the forward pass of a batch of an epoch, both counted from 0."""
    original = TrainingModule.training_step
    done = []

    def training_step(self, data, batch_idx):
        if (self.current_epoch, batch_idx) == (epoch, batch) and not done:
            done.append(True)
            action()
        return original(self, data, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", training_step)


def rows_of(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def untimed(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file without the columns that two equal runs may differ in."""
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows_of(file)]


def checkpoint_of(run: Path, which: str = "last") -> dict:
    """A checkpoint of a run."""
    return torch.load(run / "checkpoints" / f"{which}.ckpt", weights_only=True)


def weights_of(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    """The weights of a run."""
    return checkpoint_of(run, which)["state_dict"]


def assert_equal(one, other, where: str = "") -> None:
    """Two nests of containers, tensors and values are equal to the bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_equal(left, right, f"{where}/{number}")
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def _environment() -> dict[str, str]:
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("P2BE", "HYDRA", "WANDB", "PL_"))}
    return {**keep, "OMP_NUM_THREADS": "1"}


_save_in_commands = save_one_pixel


def _call(main, name: str, arguments) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(Figure, "savefig", _save_in_commands),
        mock.patch.object(sys, "argv", [name, *map(str, arguments)]),
        mock.patch.dict(os.environ),  # what a command leaves to its own worker processes is not for the next test
        mock.patch.object(progress, "FIRST_LINE", float("inf")),  # lines that come where a machine is slow
        mock.patch.object(evaluation_progress, "FIRST_LINE", float("inf")),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main()
    return Outcome(code, out.getvalue(), err.getvalue())
