"""The results that go along with a shared network: those of its own checkpoint, checked, without places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2be_exp.errors import BadInput
from p2be_exp.report.leaderboard.checked import Checked
from p2be_exp.report.leaderboard.conditions import read_conditions
from p2be_exp.report.leaderboard.submission import Submission, read_submission
from p2be_exp.report.measured import Counts
from p2be_exp.runs.shared import RESULTS
from p2be_exp.system.forms import read_json, unusable

_OF_A_MACHINE = ("run",)
"""Keys of ``results.json`` that name a folder."""


@dataclass(frozen=True)
class SharedResults:
    """What was measured on a network.

    Attributes:
        content: of ``results.json``, without places.
        summary: the same as it was checked.
        counts: by condition, in the order of the file.
    """

    content: dict[str, Any]
    summary: Submission
    counts: Mapping[str, Counts]


def read_results(folder: Path, where: str, which: str, step: int, name: str = RESULTS) -> SharedResults:
    """The results in a folder.

    Args:
        folder: the run's, or one of its evaluations'.
        where: the option and its value, for messages.
        which: the checkpoint that is shared, ``last`` or ``best``.
        step: its.
        name: of the file.

    Raises:
        BadInput: there are none, none of clean images, or they are damaged or of another checkpoint.
    """
    file = folder / name
    if not file.is_file():
        raise BadInput(f"{where}: no {name}; evaluate first (or evaluation=NAME of RUN/evaluations)")
    if (summary := read_submission(file, folder)) is None:
        raise BadInput(f"{where}: {name} has no error on clean images; evaluate first")
    try:
        content = read_json(file)
    except (OSError, ValueError) as error:
        raise BadInput(f"{where}: {name} {unusable(error)}") from error
    settings = content["settings"]  # the summary has been read from them
    measured = settings.get("checkpoint"), settings.get("step")
    if measured != (which, step):
        raise BadInput(
            f"{where}: {name} is of the {measured[0]} checkpoint, step {measured[1]}, and checkpoint={which} is of "
            f"step {step}; evaluate this one first"
        )
    kept = {key: _without_folders(value) for key, value in content.items() if key not in _OF_A_MACHINE}
    return SharedResults(kept, summary, read_conditions(Checked(file, "", content)))


def _without_folders(value: Any) -> Any:
    """A value in which a text that is a path, of a run that attacks transfer from, is its last name."""
    if isinstance(value, dict):
        return {key: _without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    is_path = isinstance(value, str) and value.startswith(("/", "~", "./", "../"))
    return Path(value).name if is_path else value
