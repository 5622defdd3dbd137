"""What was measured on a run, read back from its folder; and the runs that a user means by a path."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2be_exp.config.schema import TrainConfig
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.saved_results import open_arrays, read_settings
from p2be_exp.runs.run import Run
from p2be_exp.system.foreign_files import read_text
from p2be_exp.system.forms import read_json, unusable
from p2be_exp.system.paths import check_path, is_folder

EVALUATIONS = "evaluations"
"""The folder of a run that holds its evaluations."""


@dataclass(frozen=True)
class Counts:
    """Images of one condition, and those that were classified wrongly."""

    n_wrong: int
    n: int

    @property
    def error(self) -> float:
        """In percent."""
        return 100 * self.n_wrong / self.n


@dataclass(frozen=True)
class Images:
    """The images of one condition in data set order, arrays ``(n,)``.

    Attributes:
        index: positions in the data set.
        label: classes.
        wrong: bool, whether the network was wrong.
    """

    index: NDArray[np.int64]
    label: NDArray[np.int64]
    wrong: NDArray[np.bool_]


@dataclass(frozen=True)
class Measured:
    """The results of one run.

    Attributes:
        key: the option under which the user gave it.
        folder: where the results are: the run folder, or one of its evaluations.
        run: the run.
        config: the run's configuration.
        settings: those of the evaluation.
        counts: by condition, in the order of the file.
    """

    key: str
    folder: Path
    run: Run
    config: TrainConfig
    settings: dict[str, Any]
    counts: Mapping[str, Counts]

    @property
    def seed(self) -> int:
        """The seed that the run was trained with."""
        return self.config.seed

    @property
    def run_folder(self) -> Path:
        """Tells runs apart: several evaluations of a run have one."""
        return self.run.path.resolve()

    def __str__(self) -> str:
        return f"{self.key}={self.folder}"

    def images(self, condition: str) -> Images:
        """The images behind one condition.

        Raises:
            BadInput: their file is missing, damaged, or does not fit the counts.
        """
        file = self.folder / "per_image" / f"{condition.replace('/', '-')}.npz"
        try:
            with open_arrays(file) as saved:
                images = Images(saved["index"], saved["label"], saved["wrong"].astype(bool))
            _check_arrays(images)
        except Exception as error:  # NumPy and zipfile raise many kinds on a damaged file
            raise BadInput(f"{self}: per_image/{file.name} {unusable(error)}") from error
        if Counts(int(images.wrong.sum()), len(images.wrong)) != self.counts[condition]:
            raise BadInput(f"{self}: per_image/{file.name} does not fit the row of {condition} in results.csv")
        return images


def _check_arrays(images: Images) -> None:
    """Check that every image has its position, class and verdict.

    Raises:
        ValueError: an array is of another shape or type.
    """
    for array in (images.index, images.label):
        if array.ndim != 1 or array.shape != images.wrong.shape or array.dtype.kind not in "iu":
            raise ValueError(f"{array.dtype} {array.shape} beside {images.wrong.shape} verdicts")


def find_measured(key: str, text: str, evaluation: str | None = None) -> list[Measured]:
    """The results that a user names.

    Args:
        key: the option's name, for messages.
        text: run folders, folders of run folders, or evaluations (``RUN/evaluations/NAME``); several joined by commas.
        evaluation: the evaluation to take of each run; None: what its training ended with.

    Returns:
        The results in the order given; those of a folder of runs in the order of the runs' names.

    Raises:
        BadInput: no such folder, no run, or a run without these results.
    """
    return [measured for folder in split_folders(key, text) for measured in measured_in(key, folder, evaluation)]


def split_folders(key: str, text: str) -> list[Path]:
    """The folders that a user names: the text itself where it is one, since names may have commas, else its parts.

    Raises:
        BadInput: no such folder.
    """
    for part in text.split(","):
        check_path(key, part)
    if is_folder(text):
        return [Path(text)]
    for part in text.split(","):
        if not is_folder(part):
            raise BadInput(f"{key}={part}: no such folder")
    return [Path(part) for part in text.split(",")]


def measured_in(key: str, folder: Path, evaluation: str | None = None) -> list[Measured]:
    """The results of one folder: see :func:`find_measured`."""
    if is_evaluation(folder):
        if evaluation is not None:
            raise BadInput(f"evaluation={evaluation}: is only for run folders; {key}={folder} is an evaluation")
        if (run := run_of(folder)) is None or not is_folder(run):
            raise BadInput(f"{key}={folder}: measured on the run {run}, which is not there")
        return [_read(key, folder, Run.open(run, key))]
    return [_of_run(key, path, evaluation) for path in run_folders(key, folder)]


def run_folders(key: str, folder: Path) -> list[Path]:
    """The run that a folder is, or the runs in it, finished or not, sorted by number.

    Raises:
        BadInput: no run in it.
    """
    runs = [folder] if is_run(folder) else sorted(filter(is_run, folder.iterdir()), key=_by_number)
    if not runs:
        raise BadInput(f"{key}={folder}: neither a run, nor a folder of runs, nor an evaluation of a run")
    return runs


def state_of(key: str, run: Run) -> str:
    """What ``status.json`` says; a run without one is finished.

    Raises:
        BadInput: it is of another form.
    """
    status = run.status()
    if not status and os.path.lexists(run.status_file):
        why = "is damaged"
        try:
            read_text(run.status_file)
        except (OSError, ValueError) as error:
            why = unusable(error)
        raise BadInput(f"{key}={run.path}: status.json {why}")
    return status.get("state", "finished")


def _of_run(key: str, path: Path, evaluation: str | None) -> Measured:
    run = Run.open(path, key)
    if evaluation is None:
        state = state_of(key, run)
        if state != "finished":
            raise BadInput(f"{key}={path}: not finished (its status is {state!r}); only finished runs are compared")
        return _read(key, path, run)
    folder = path / EVALUATIONS / evaluation
    if not folder.is_dir():
        there = sorted(each.name for each in (path / EVALUATIONS).glob("*") if each.is_dir())
        raise BadInput(f"evaluation={evaluation}: not in {path}; there are: {', '.join(there) or 'none'}")
    return _read(key, folder, run)


def _read(key: str, folder: Path, run: Run) -> Measured:
    try:
        settings = read_settings(folder / "results.json")
        _check_settings(settings)
        rows = list(csv.DictReader(io.StringIO(read_text(folder / "results.csv"), newline="")))
        counts = {row["condition"]: _counts(row) for row in rows}
        if len(counts) != len(rows) or not rows:
            raise ValueError("a condition twice, or none at all")
    except FileNotFoundError as error:
        raise BadInput(f"{key}={folder}: no {Path(error.filename).name}; nothing was measured there yet") from error
    except OSError as error:
        raise BadInput(f"{key}={folder}: {Path(error.filename or '').name} {unusable(error)}") from error
    except (AttributeError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise BadInput(f"{key}={folder}: results.csv or results.json is damaged") from error
    return Measured(key, folder, run, run.config(), settings, counts)


def _check_settings(settings: dict[str, Any]) -> None:
    """Check the form of what every comparison reads; a file may be JSON and of another form.

    Raises:
        KeyError, TypeError: it is of another form.
    """
    if not isinstance(settings["dataset"], str) or not isinstance(settings["corruption"]["name"], str):
        raise TypeError("dataset and corruption.name are texts")
    if not isinstance(settings.get("checkpoint", ""), str):
        raise TypeError("checkpoint is a text")


def _counts(row: dict[str, str]) -> Counts:
    counts = Counts(int(row["n_wrong"]), int(row["n"]))
    if not 0 <= counts.n_wrong <= counts.n or counts.n == 0:
        raise ValueError(counts)
    return counts


def is_run(folder: Path) -> bool:
    """Whether a folder is a run; also one with only a status: the job failed early and must not be skipped."""
    try:
        return any((folder / name).is_file() for name in ("run.json", "status.json"))
    except PermissionError:  # another user's: the message must name it
        return True


def is_evaluation(folder: Path) -> bool:
    """Whether a folder is where an evaluation of a run is."""
    return run_of(folder) is not None


def run_of(folder: Path) -> Path | None:
    """The run that an evaluation is of: the one that it is in, or that its ``results.json`` names; else None."""
    if is_run(folder):
        return None
    parents = folder.absolute().parents
    if len(parents) > 1 and parents[0].name == EVALUATIONS and is_run(parents[1]):
        return parents[1]
    try:
        named = read_json(folder / "results.json")["run"]
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return Path(named) if isinstance(named, str) else None


def _by_number(folder: Path) -> list[tuple[int, str]]:
    """Sorts 10 behind 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", folder.name) if part]
