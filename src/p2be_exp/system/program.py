"""How a command is started: ``p2be-train``, or ``python train.py`` in a checkout."""

from __future__ import annotations

import sys
from pathlib import Path

from p2be_exp.system.installation import is_installed

PROGRAMS = ("train", "evaluate")
"""Commands that are a program if the package is installed, and a file at the top of a checkout.

The others, ``python -m p2be_exp.NAME``, have the same name everywhere.
"""


def program() -> str:
    """The file that was started, without its folder: ``train.py``, ``p2be-train``."""
    return Path(sys.argv[0]).name


def is_program(command: str) -> bool:
    """Whether this process was started as a command of :data:`PROGRAMS`, by either of its names."""
    return program() in (_script(command), _file(command))


def name_of(command: str) -> str:
    """The name of a command for messages: ``train.py``, ``p2be-train``, ``python -m p2be_exp.report``.

    It follows the way in which this process was started, if that is one of :data:`PROGRAMS`; else the installation.

    Args:
        command: one of :data:`PROGRAMS`, a module with a command line, or ``evaluate_model``.
    """
    if command == "evaluate_model":
        return f"{name_of('evaluate')} model=FILE.py"
    if command not in PROGRAMS:
        return f"python -m p2be_exp.{command}"
    return _script(command) if _by_script() else _file(command)


def words_of(command: str) -> tuple[str, ...]:
    """The words that start one of :data:`PROGRAMS`.

    Returns:
        ``("python", "train.py")`` or ``("p2be-train",)``; see :func:`name_of`.
    """
    name = name_of(command)
    return ("python", name) if name == _file(command) else (name,)


def _by_script() -> bool:
    if program() in map(_script, PROGRAMS):
        return True
    return is_installed() and program() not in map(_file, PROGRAMS)


def _script(command: str) -> str:
    return f"p2be-{command}"


def _file(command: str) -> str:
    return f"{command}.py"
