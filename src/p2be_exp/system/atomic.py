"""Files that are either whole or not there: written beside their place and moved onto it.

A disk that is full is told in one line (:class:`~p2be_exp.errors.ResourceError`); what was there stays as it was.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from p2be_exp.errors import BadInput, ResourceError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_PART = re.compile(r"\..*\.[a-z0-9_]{8}\.part")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; move it onto ``path`` when the block ends without an error.

    The data reaches the disk before the move, so a crash leaves the old file or the new one.

    Raises:
        ResourceError: the disk is full.
    """
    with _staged(path) as part:
        yield part
        _finish(part)
        part.replace(path)


@contextmanager
def _staged(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; what is there when the block ends is removed."""
    path = Path(path)
    with told_when_full(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        part = Path(name)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)


def _finish(part: Path) -> None:
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.chmod(0o666 & ~_umask())


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file atomically.

    What a library would write piece by piece is better made in memory and written by this: libraries of compiled code
    end the process where a disk is full.
    """
    with replacing(path) as part, part.open("wb", buffering=0) as file:
        rest = memoryview(data).cast("B")
        while len(rest):  # one call writes 2 GiB at most
            rest = rest[file.write(rest) :]


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8.

    A byte of a file's name that is no UTF-8 (in Python a lone surrogate, see ``os.fsdecode``) is written ``\\udcXX``,
    as JSON and YAML write it: those read it back as it was.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, indented."""
    write_text(path, _json(value))


def create_json(path: Path, value: Any) -> None:
    """Write a JSON file that is not there yet, atomically; of several processes that try one succeeds.

    Raises:
        FileExistsError: it is there.
        ResourceError: the disk is full.
    """
    with _staged(path) as part:
        part.write_text(_json(value), encoding="utf-8")
        _finish(part)
        try:
            os.link(part, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if Path(path).exists():
                raise FileExistsError(path) from None
            part.replace(path)


def overwrite_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, or where the disk is full over the old one, which has room for it.

    For the last word of a process. Nothing is raised where nothing can be written.
    """
    try:
        write_json(path, value)
    except (ResourceError, OSError):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                file.write(_json(value).encode())
                file.truncate()
        except OSError:
            pass


@contextmanager
def told_when_full(path: Path) -> Iterator[None]:
    """Tell of a full disk, or of an exhausted quota, in one line.

    Args:
        path: what is being written.

    Raises:
        ResourceError: in the place of the error of the operating system.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise ResourceError(full_line(path, error)) from error
        raise


def is_full(error: OSError) -> bool:
    """Whether an error of the operating system says that a disk is full, or a quota exhausted."""
    return error.errno in _FULL


def full_line(path: Path, error: OSError) -> str:
    """One line about a file that a full disk has no room for."""
    try:
        free = shutil.disk_usage(_existing(Path(path))).free / 2**20
        left = f" ({free:,.1f} MiB left)"
    except OSError:
        left = ""
    return f"{path}: cannot be written: {os.strerror(error.errno or 0).lower()}{left}; make space, then go on"


def reserve(path: Path, size: int) -> None:
    """Take all the space that a file of ``size`` bytes needs, before it is mapped into memory and filled there.

    A write to mapped memory for which the disk has no room ends the process.

    Raises:
        ResourceError: there is not as much.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with told_when_full(path), Path(path).open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if is_full(error):
                raise  # any other: a file system that cannot do it


def refuse_links(folder: Path, *below: str, key: str) -> None:
    """Check that what is about to be written into is no link: what it leads to may be somebody else's.

    Args:
        folder: as the user gave it; itself it may be a link.
        below: folders in it, or files that a library opens by their names.
        key: the option under which the user gave it, for the message.

    Raises:
        BadInput: one is a link, or is in a folder that is one; or a file that has a second name, or is none (a pipe).
    """
    for name in below:
        for path in (Path(name), *Path(name).parents[:-1]):
            try:
                status = (Path(folder) / path).lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if stat.S_ISLNK(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink > 1):
                raise BadInput(f"{key}={folder}: {path} in it is a link; nothing is written through links")
            if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
                raise BadInput(f"{key}={folder}: {path} in it is neither a file nor a folder")


def is_leftover(name: str) -> bool:
    """Whether a file's name is that of one that :func:`replacing` was writing."""
    return bool(_PART.fullmatch(name))


def remove_leftovers(*folders: Path) -> None:
    """Remove what a process that was killed in :func:`replacing` left behind in these folders (not those below)."""
    for folder in folders:
        if folder.is_dir():
            for part in folder.iterdir():
                if is_leftover(part.name) and (part.is_symlink() or not part.is_dir()):  # a folder is somebody's
                    part.unlink(missing_ok=True)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
