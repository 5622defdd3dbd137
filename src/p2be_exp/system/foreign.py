"""Run folders may come from a stranger: nothing inside one is ever imported."""

from __future__ import annotations

import sys
from pathlib import Path


def in_run_folder(file: Path) -> bool:
    """Whether a file, as it is called or where links lead to, is somewhere below a folder with a ``run.json``."""
    return any((folder / "run.json").is_file() for path in (file.absolute(), file.resolve()) for folder in path.parents)


def hide_run_folder() -> None:
    """Take the current folder out of Python's search path where ``python -m`` has put it and it is part of a run."""
    here = Path.cwd()
    if sys.argv[:1] == ["-m"] and sys.path and Path(sys.path[0] or here) == here and in_run_folder(here / "module.py"):
        del sys.path[0]
