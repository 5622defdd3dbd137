"""Paths as users give them: what no file can be called is refused before anything looks for it."""

from __future__ import annotations

import os
from pathlib import Path

from p2be_exp.errors import BadInput

NAME_BYTES = 255
"""The longest name of a file or folder on the file systems in use, in bytes."""

PATH_BYTES = 4095
"""The longest path that Linux takes, in bytes."""


def check_path(key: str, text: str | os.PathLike[str]) -> None:
    """Check that a file or folder can have this path; whether it is there is another question.

    Args:
        key: the option under which the user gave it, for the message.
        text: the path, ``~`` and ``~NAME`` at its beginning included.

    Raises:
        BadInput: a name in it is too long, or it is too long as a whole; it has a null character, or one that no
            name of a file can hold.
    """
    text = os.fspath(text)
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise BadInput(f"{key}={text}: no path can be written so ({error.reason})") from error
    if b"\0" in encoded:
        raise BadInput(f"{key}={text}: a path has no null character")
    longest = max(map(len, encoded.split(b"/")))
    if longest > NAME_BYTES:
        raise BadInput(f"{key}={text}: a name of {longest} bytes; allowed are {NAME_BYTES}")
    if len(encoded) > PATH_BYTES:
        raise BadInput(f"{key}={text}: a path of {len(encoded)} bytes; allowed are {PATH_BYTES}")


def is_folder(text: str | Path) -> bool:
    """Whether a text, which may be several paths joined by commas and too long for one, is a folder.

    One inside a folder that is closed to this user is none.
    """
    try:
        return bool(text) and Path(text).is_dir()
    except OSError:
        return False


def user_path(key: str, text: str | os.PathLike[str]) -> Path:
    """A path with the home folder in the place of ``~``.

    Raises:
        BadInput: there is no such home folder, or no file can have this path (see :func:`check_path`).
    """
    check_path(key, text)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{key}={os.fspath(text)}: there is no such home folder") from error
