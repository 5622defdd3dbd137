"""``entry.yaml``: what the authors of results say of them; beside ``results.json``, and optional."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from p2be_exp.errors import BadInput
from p2be_exp.report.leaderboard.checked import Checked
from p2be_exp.system.foreign_files import read_text
from p2be_exp.system.forms import unusable

FILE = "entry.yaml"

LIMITS = {"name": 80, "authors": 300, "paper": 300, "training_data": 200, "note": 500}
"""The keys, and how many characters each may have."""

_ADDRESS = re.compile(r"https?://[^\s\"'<>\\^`{|}]+")


@dataclass(frozen=True)
class Entry:
    """An entry in its authors' words; empty where they say nothing.

    Attributes:
        name: of the entry.
        authors: their names.
        paper: an address, ``https://...``.
        training_data: what it was trained on.
        note: anything else.
    """

    name: str
    authors: str = ""
    paper: str = ""
    training_data: str = ""
    note: str = ""


def read_entry(folder: Path, otherwise: str) -> Entry:
    """The entry of the results in a folder.

    Args:
        folder: where the results are.
        otherwise: the name of an entry without a file.

    Raises:
        BadInput: the file cannot be read, is not YAML, or has a key or a value that is not allowed.
    """
    file = folder / FILE
    if not os.path.lexists(file):
        return Entry(otherwise)
    content = Checked(file, "", _parsed(file))
    values = {key: value.text(most=LIMITS[key]) for key, value in content.items() if _known(value, key)}
    if not values.get("name", "").strip():
        raise content["name"].refused(f"the name of the entry, at most {LIMITS['name']} characters")
    if "paper" in values and not _ADDRESS.fullmatch(values["paper"]):
        raise content["paper"].refused("an address that starts with https:// or http://")
    return Entry(**values)


def _parsed(file: Path) -> Any:
    try:
        return yaml.safe_load(read_text(file))
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" (line {line + 1})"
        raise BadInput(
            f"{file}: is not YAML{where}; must be lines KEY: TEXT with the keys {', '.join(LIMITS)}"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{file}: {unusable(error)}") from error


def _known(value: Checked, key: str) -> bool:
    """Whether a key has a value.

    Raises:
        BadInput: there is no such key.
    """
    if key not in LIMITS:
        raise BadInput(f"{value.file}: {key}: unknown key; the keys are {', '.join(LIMITS)}")
    return value.given
