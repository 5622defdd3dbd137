"""The expected structure of a JSON file's content, and messages about files that do not have it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2be_exp.system.foreign_files import read_text

Form = Mapping[str, type | tuple[type, ...]]
"""The allowed types of every key that is read; ``*`` stands for every entry of a list or mapping."""


def misfit(form: Form, content: Any) -> str | None:
    """The first key whose value has the wrong type, with the value; None if all are right.

    Keys may be missing, and there may be others. Booleans are not accepted as numbers.

    >>> misfit({"names.*": str}, {"names": ["a", 3]})
    'names: 3'
    """
    if not isinstance(content, dict):
        return f"{json.dumps(content, default=str)[:60]}"
    for key, kinds in form.items():
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        for found in _values(content, key.split(".")):
            if not isinstance(found, kinds) or (isinstance(found, bool) and bool not in kinds):
                return f"{key.removesuffix('.*')}: {json.dumps(found, default=str)[:60]}"
    return None


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(read_text(file))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def unusable(error: BaseException) -> str:
    """A description of a file after an error in reading it: missing, unreadable or damaged."""
    if isinstance(error, FileNotFoundError):
        return "is missing"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read ({error.strerror})"
    return "is damaged"


def _values(content: Any, path: Sequence[str]) -> list[Any]:
    if not path:
        return [content]
    first, *rest = path
    if first == "*":
        entries = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
        return [found for each in entries for found in _values(each, rest)]
    return _values(content[first], rest) if isinstance(content, dict) and first in content else []
