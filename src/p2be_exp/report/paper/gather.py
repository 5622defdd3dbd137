"""The results that a report is about: which of the given runs can be used, and why the others cannot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2be_exp.corruptions.names import select_names
from p2be_exp.errors import BadInput
from p2be_exp.report.measured import (
    EVALUATIONS,
    Measured,
    is_evaluation,
    measured_in,
    run_folders,
    split_folders,
    state_of,
)
from p2be_exp.system.forms import Form, misfit, read_json

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
class Result(Measured):
    """The results of one run, with what its folder says of it.

    Attributes:
        info: content of the run's ``run.json``.
        left_out: requested corruptions that there were no images of.
        other_evaluations: names of the run's evaluations that were not taken.
        identical: corruptions whose images are known to be the published ones.
        worst_case: by radius in levels, percent of the images that some attack broke at it or below; None where an
            attack is missing.
    """

    info: dict[str, Any]
    left_out: tuple[str, ...]
    other_evaluations: tuple[str, ...]
    identical: tuple[str, ...] = ()
    worst_case: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def sweep(self) -> str | None:
        """The sweep that the run is a job of, if its ``run.json`` names one."""
        return (self.info.get("sweep") or {}).get("name")

    @property
    def scale(self) -> str | None:
        """That sweep's scale."""
        return (self.info.get("sweep") or {}).get("scale")


def gather(paths: Sequence[str], evaluation: str | None = None) -> tuple[list[Result], list[NotUsed]]:
    """Read the results of runs; a run without any is reported and does not stop the others.

    Args:
        paths: run folders, folders of runs, or evaluations; several may be joined by commas.
        evaluation: the one to take of each run; None: what its training ended with.

    Returns:
        The results, in the order of their folders, each once; and the runs that have none.

    Raises:
        BadInput: a path that is none of these, or no run at all with results.
    """
    named = [part for text in paths for part in split_folders(KEY, text)]
    folders = {folder.resolve(): folder for part in named for folder in _folders(part)}
    results, not_used = [], []
    for folder in sorted(folders.values(), key=str):
        try:
            (measured,) = measured_in(KEY, folder, evaluation)
            result = _result(measured)
            _check_fully_trained(result)
            results.append(result)
        except BadInput as error:
            not_used.append(NotUsed(folder, str(error).removeprefix(f"{KEY}={folder}: ")))
    if not results:
        more = f" (and {len(not_used) - 1} more)" if len(not_used) > 1 else ""
        raise BadInput(f"{KEY}={not_used[0].folder}: {not_used[0].reason}{more}; no run has results to report")
    return results, not_used


def _folders(folder: Path) -> list[Path]:
    return [folder] if is_evaluation(folder) else run_folders(KEY, folder)


def _result(measured: Measured) -> Result:
    summary = read_json(measured.folder / "results.json")
    run, info = measured.run.path, measured.run.info()
    _check_form("results.json", _SUMMARY, summary)
    _check_form("results.json", _SETTINGS, measured.settings)
    if requested := measured.settings["corruption"].get("names"):
        select_names(requested, "results.json: corruption.names")
    names = (each.name for each in (run / EVALUATIONS).glob("*") if each.resolve() != measured.folder.resolve())
    section = summary.get("corruptions") or {}
    left_out, identical = (tuple(section.get(key) or ()) for key in ("left_out", "identical"))
    return Result(
        **vars(measured),
        info=info,
        left_out=left_out,
        other_evaluations=tuple(sorted(names)),
        identical=identical,
        worst_case=summary.get("worst_case_error") or {},
    )


# -- trained to its end -----------------------------------------------------------------------------------------------


def _check_fully_trained(result: Result) -> None:
    """Check that the last checkpoint was that of the whole training: an evaluation may be of a run that was stopped.

    Raises:
        BadInput: the run is not finished, or other weights than its last were measured.
    """
    settings, run = result.settings, result.run
    if settings.get("checkpoint", "last") != "last":
        return
    state, step = state_of(KEY, run), settings.get("step")
    if state != "finished":
        raise BadInput(f"not finished (its status is {state!r}); its last checkpoint is not that of the whole training")
    full = _steps(result)
    if step is not None and full is not None and step != full:
        raise BadInput(f"measured after {step:,} of {full:,} steps of training")


def _steps(result: Result) -> int | None:
    """Steps of the whole training, as a finished run recorded them, else from its number of images; None if unknown."""
    run, config = result.run, result.config
    try:
        own = read_json(run.path / "results.json")["settings"]
        if own["checkpoint"] == "last" and isinstance(own["step"], int):
            return own["step"]
    except (OSError, KeyError, TypeError, ValueError):
        pass  # what the training ended with was not kept
    images = (result.info.get("dataset") or {}).get("train")
    if not isinstance(images, int) or config.early_stop:
        return None
    batches = math.ceil(images / config.batch_size)
    return config.epochs * math.ceil(batches / config.optim.accumulate)


# -- the form of what is read -----------------------------------------------------------------------------------------

_NONE = type(None)
_SUMMARY: Form = {
    "corruptions": (dict, _NONE),
    "corruptions.left_out": (dict, list, _NONE),
    "corruptions.identical": (list, _NONE),
    "corruptions.identical.*": str,
    "worst_case_error": (dict, _NONE),
    "worst_case_error.*": (int, float, _NONE),
}
_SETTINGS: Form = {
    "attack": (dict, _NONE),
    "corruption.names": (str, list, _NONE),
    "corruption.names.*": str,
    "corruption.severities": (list, _NONE),
    "corruption.severities.*": int,
    "corruption.crop": (str, _NONE),
    "corruption.files": (dict, _NONE),
    "corruption.files.*": str,
    "limit_test": (int, _NONE),
    "precision": str,
    "seed": (int, _NONE),
    "step": (int, _NONE),
    "test_files": (str, _NONE),
}
"""What the report reads of the files, by key, and what it may be; see :mod:`p2be_exp.system.forms`."""


def _check_form(file: str, form: Form, content: Any) -> None:
    """Check the form of a JSON file's content; keys may be missing.

    Raises:
        BadInput: names the key whose value is of another form.
    """
    if found := misfit(form, content):
        raise BadInput(f"{file} is damaged ({found})")
