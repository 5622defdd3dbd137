"""The results that a report is about: what of the given runs can be used, and why the rest cannot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2be_exp.errors import BadInput
from p2be_exp.report.measured import EVALUATIONS, Measured, find_measured, run_folders

KEY = "RUNS"


@dataclass(frozen=True)
class NotUsed:
    """A run that was given and is not in the tables.

    Attributes:
        folder: of the run.
        reason: one line.
    """

    folder: Path
    reason: str


@dataclass(frozen=True)
class Result:
    """The results of one run, with what its folder says of it.

    Attributes:
        measured: counts, configuration and settings.
        info: content of the run's ``run.json``.
        left_out: corruptions that were asked for and that there were no images of.
        other_evaluations: names of the run's evaluations that were not taken.
    """

    measured: Measured
    info: dict[str, Any]
    left_out: tuple[str, ...]
    other_evaluations: tuple[str, ...]

    @property
    def run(self) -> str:
        """The run's folder, which tells runs apart."""
        return str(self.measured.run.path.resolve())

    @property
    def sweep(self) -> str | None:
        """The sweep that the run is a job of, if its ``run.json`` names one."""
        return (self.info.get("sweep") or {}).get("name")

    @property
    def scale(self) -> str | None:
        """That sweep's scale."""
        return (self.info.get("sweep") or {}).get("scale")


def gather(paths: Sequence[str], evaluation: str | None = None) -> tuple[list[Result], list[NotUsed]]:
    """Read the results of runs; a run without any is told of, and stops nothing.

    Args:
        paths: run folders, folders of runs, or evaluations; several may be joined by commas.
        evaluation: the one to take of each run; None: what its training ended with.

    Returns:
        The results, in the order of their folders, each once; and the runs that have none.

    Raises:
        BadInput: a path that is none of these, or no run at all with results.
    """
    folders = {folder.resolve(): folder for text in paths for part in text.split(",") for folder in _folders(part)}
    results, not_used = [], []
    for folder in sorted(folders.values(), key=str):
        try:
            (measured,) = find_measured(KEY, str(folder), evaluation)
            results.append(_result(measured))
        except BadInput as error:
            not_used.append(NotUsed(folder, str(error).removeprefix(f"{KEY}={folder}: ")))
    if not results:
        more = f" (and {len(not_used) - 1} more)" if len(not_used) > 1 else ""
        raise BadInput(f"{KEY}={not_used[0].folder}: {not_used[0].reason}{more}; no run has results to report")
    return results, not_used


def _folders(text: str) -> list[Path]:
    folder = Path(text)
    is_evaluation = folder.is_dir() and folder.absolute().parent.name == EVALUATIONS
    return [folder] if is_evaluation else run_folders(KEY, text)


def _result(measured: Measured) -> Result:
    summary = json.loads((measured.folder / "results.json").read_text(encoding="utf-8"))
    run = measured.run.path
    names = (each.name for each in (run / EVALUATIONS).glob("*") if each.resolve() != measured.folder.resolve())
    left_out = tuple((summary.get("corruptions") or {}).get("left_out") or ())
    return Result(measured, measured.run.info(), left_out, tuple(sorted(names)))
