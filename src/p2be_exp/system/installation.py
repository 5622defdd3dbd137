"""The location of this package and of its non-Python files: in a checkout of the project, or installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parents[1]
_IN_CHECKOUT = {"zoo": "docs/zoo"}
"""Folders that are not at the top of a checkout."""
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
"""Environment variables that point git at another repository, for example in a hook."""


def data_folder(name: str) -> Path:
    """A folder of non-Python files: ``_NAME`` in an installed package, in a checkout ``NAME`` at the top or in docs/.

    Args:
        name: ``conf``, ``sweeps`` or ``zoo``; ``setup.py`` puts it into the package.
    """
    inside = _PACKAGE / f"_{name}"
    return inside if inside.is_dir() else _CHECKOUT / _IN_CHECKOUT.get(name, name)


def is_installed() -> bool:
    """Whether the package was installed with its files inside; an editable installation uses the checkout's."""
    return data_folder("conf").parent == _PACKAGE


def git_commit() -> str | None:
    """Commit of the project's checkout, with ``+`` if it has changes.

    Returns:
        None if the package is not in a checkout: a repository that happens to contain an installed package, or a copy
        of the project, says nothing about this code.
    """
    if is_installed():
        return None
    environment = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_CHECKOUT), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != _CHECKOUT:
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
