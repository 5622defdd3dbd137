"""A folder that a user names for the results of an evaluation. Nothing here imports torch."""

from __future__ import annotations

from pathlib import Path

from p2be_exp.errors import BadInput
from p2be_exp.system.atomic import is_leftover
from p2be_exp.system.forms import read_json
from p2be_exp.system.ownership import LOCK
from p2be_exp.system.peers import FOLDER


def check_out_folder(folder: Path, key: str = "out") -> None:
    """Check that a folder for results does not exist, is empty, or holds an evaluation.

    Args:
        folder: the folder.
        key: the option that names it, for messages.

    Raises:
        BadInput: it holds a run, or files that no evaluation wrote.
    """
    there = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    foreign = sorted(name for name in there if name not in (LOCK, FOLDER) and not is_leftover(name))
    if foreign and ("run.json" in foreign or not _is_evaluation(folder)):
        named = "results.json" if "results.json" in foreign and "run.json" not in foreign else foreign[0]
        raise BadInput(f"{key}={folder}: holds {named}, which no evaluation wrote; choose another folder")


def _is_evaluation(folder: Path) -> bool:
    """Whether the ``results.json`` in a folder is one of ours."""
    try:
        return isinstance(read_json(folder / "results.json")["settings"], dict)
    except (OSError, KeyError, TypeError, ValueError):
        return False
