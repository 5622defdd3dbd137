"""The evaluations in a folder, however deep."""

from __future__ import annotations

import os
from pathlib import Path

from p2be_exp.errors import BadInput
from p2be_exp.report.leaderboard.submission import FILE, Submission, read_submission


def find_submissions(folder: Path) -> tuple[list[Submission], list[str]]:
    """Read every ``results.json`` in a folder and in those below it; links to folders are not followed.

    Returns:
        The evaluations in the order of their paths; and the places of those where nothing is measured yet.

    Raises:
        BadInput: no such folder, one that cannot be read, no results in it, or a file that is damaged or foreign.
    """
    if not folder.is_dir():
        raise BadInput(f"FOLDER={folder}: no such folder")
    files = _files(folder)
    if not files:
        raise BadInput(f"FOLDER={folder}: no {FILE} in it or in a folder below; must have the results of an evaluation")
    read = {file.parent.relative_to(folder).as_posix(): read_submission(file, folder) for file in files}
    found = [submission for submission in read.values() if submission is not None]
    if not found:
        raise BadInput(f"{files[0]}: clean is not measured yet (nor in the others, {len(files)} in all)")
    return found, [place for place, submission in read.items() if submission is None]


def _files(folder: Path) -> list[Path]:
    found = []
    for here, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if FILE in files:
            found.append(Path(here) / FILE)
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise BadInput(f"{error.filename}: cannot be read ({error.strerror})")
