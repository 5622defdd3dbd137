"""What a person types to start a command: ``p2be-train``, or ``python train.py`` in a checkout."""

from __future__ import annotations

import sys
from pathlib import Path

from p2be_exp.system.installation import is_installed

PROGRAMS = ("train", "evaluate")
"""Commands that are a program when the package is installed, and a file at the top of a checkout.

The others, ``python -m p2be_exp.NAME``, are called the same everywhere.
"""


def program() -> str:
    """The file that was started, without its folder: ``train.py``, ``p2be-train``."""
    return Path(sys.argv[0]).name


def is_program(command: str) -> bool:
    """Whether this process is a command of :data:`PROGRAMS`, by either of its names."""
    return program() in (_script(command), _file(command))


def name_of(command: str) -> str:
    """What a command is called in a message: ``train.py``, ``p2be-train``, ``python -m p2be_exp.report``.

    As this process was started, where it is one of :data:`PROGRAMS`; else as the package was installed.

    Args:
        command: one of :data:`PROGRAMS`, or of the modules that are commands.
    """
    if command not in PROGRAMS:
        return f"python -m p2be_exp.{command}"
    return _script(command) if _by_script() else _file(command)


def words_of(command: str) -> tuple[str, ...]:
    """The words with which a person starts one of :data:`PROGRAMS`.

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
