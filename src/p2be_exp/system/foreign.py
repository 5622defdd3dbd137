"""Run folders may be untrusted: nothing inside one is ever imported."""

from __future__ import annotations

import sys
from pathlib import Path


def in_run_folder(file: Path) -> bool:
    """Whether a file, by its path or after resolving links, is below a folder with a ``run.json``."""
    return any((folder / "run.json").is_file() for path in (file.absolute(), file.resolve()) for folder in path.parents)


def hide_run_folder() -> None:
    """Remove the current folder from Python's search path if ``python -m`` added it and it is part of a run."""
    here = Path.cwd()
    if sys.argv[:1] == ["-m"] and sys.path and Path(sys.path[0] or here) == here and in_run_folder(here / "module.py"):
        del sys.path[0]
