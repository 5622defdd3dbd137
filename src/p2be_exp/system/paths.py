"""Paths given by users: impossible names are refused before anything is opened."""

from __future__ import annotations

import os
from pathlib import Path

from p2be_exp.errors import BadInput

NAME_BYTES = 255
"""The longest name of a file or folder on the file systems in use, in bytes."""

PATH_BYTES = 4095
"""The longest path that Linux accepts, in bytes."""


def check_path(key: str, text: str | os.PathLike[str]) -> None:
    """Check that a file or folder can have this path; it need not exist.

    Args:
        key: the option that gives the path, for messages.
        text: the path, including a leading ``~`` or ``~NAME``.

    Raises:
        BadInput: a name in it, or the whole path, is too long; or it has a character that file names cannot contain.
    """
    text = os.fspath(text)
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise BadInput(f"{key}={text}: cannot be written as a path ({error.reason})") from error
    if b"\0" in encoded:
        raise BadInput(f"{key}={text}: a path cannot contain a null character")
    longest = max(map(len, encoded.split(b"/")))
    if longest > NAME_BYTES:
        raise BadInput(f"{key}={text}: a name of {longest} bytes; must be at most {NAME_BYTES}")
    if len(encoded) > PATH_BYTES:
        raise BadInput(f"{key}={text}: a path of {len(encoded)} bytes; must be at most {PATH_BYTES}")


def is_folder(text: str | Path) -> bool:
    """Whether a text is the path of a folder; it may be several paths joined by commas, too long for one.

    False inside a folder that this user cannot read.
    """
    try:
        return bool(text) and Path(text).is_dir()
    except OSError:
        return False


def user_path(key: str, text: str | os.PathLike[str]) -> Path:
    """A path with ``~`` expanded to the home folder.

    Raises:
        BadInput: no such home folder, or no file can have this path (see :func:`check_path`).
    """
    check_path(key, text)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{key}={os.fspath(text)}: no such home folder") from error
