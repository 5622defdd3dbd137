"""Atomic file writes: files are written to a temporary path in the same folder and then moved.

A full disk is reported in one line (:class:`~p2be_exp.errors.ResourceError`); existing files are not changed.
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
    """Yield a temporary path in the same folder; move it to ``path`` when the block ends without an error.

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
    """Yield a temporary path in the same folder; a file left there when the block ends is removed."""
    path = Path(path)
    with reporting_full_disk(path):
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

    Data that a library would write in pieces is better built in memory and written by this function: some compiled
    libraries end the process on a full disk.
    """
    with replacing(path) as part, part.open("wb", buffering=0) as file:
        rest = memoryview(data).cast("B")
        while len(rest):  # one call writes at most 2 GiB
            rest = rest[file.write(rest) :]


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8.

    A byte of a file name that is not UTF-8 (in Python a lone surrogate, see ``os.fsdecode``) is written ``\\udcXX``,
    as in JSON and YAML, which read it back unchanged.
    """
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, indented."""
    write_text(path, _json(value))


def create_json(path: Path, value: Any) -> None:
    """Create a JSON file atomically; if several processes try, one succeeds.

    Raises:
        FileExistsError: it exists.
        ResourceError: the disk is full.
    """
    with _staged(path) as part:
        part.write_text(_json(value), encoding="utf-8")
        _finish(part)
        try:
            os.link(part, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if Path(path).exists():
                raise FileExistsError(path) from None
            part.replace(path)


def overwrite_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, or on a full disk in place, over the old file, whose space it can use.

    For the final status of a process: no error is raised if nothing can be written.
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
def reporting_full_disk(path: Path) -> Iterator[None]:
    """Report a full disk, or an exhausted quota, in one line.

    Args:
        path: of the file being written.

    Raises:
        ResourceError: instead of the error of the operating system.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise ResourceError(full_line(path, error)) from error
        raise


def is_full(error: OSError) -> bool:
    """Whether an error of the operating system means a full disk or an exhausted quota."""
    return error.errno in _FULL


def full_line(path: Path, error: OSError) -> str:
    """One line about a file that does not fit on a full disk."""
    try:
        free = shutil.disk_usage(_existing(Path(path))).free / 2**20
        left = f" ({free:,.1f} MiB left)"
    except OSError:
        left = ""
    return f"{path}: cannot be written: {os.strerror(error.errno or 0).lower()}{left}; make space, then continue"


def reserve(path: Path, size: int) -> None:
    """Allocate the disk space of a file of ``size`` bytes before it is mapped into memory.

    A write to mapped memory on a full disk ends the process.

    Raises:
        ResourceError: there is not enough space.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with reporting_full_disk(path), Path(path).open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if is_full(error):
                raise  # others: the file system does not support it


def refuse_links(folder: Path, *below: str, key: str) -> None:
    """Check that paths to be written are not links, whose targets may belong to someone else.

    Args:
        folder: as the user gave it; it may itself be a link.
        below: folders in it, or files that a library opens by name.
        key: the option that names the folder, for messages.

    Raises:
        BadInput: a path is a link, is in a folder that is a link, has several hard links, or is not a regular file or
            folder (a pipe).
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
    """Whether a file name is that of a temporary file of :func:`replacing`."""
    return bool(_PART.fullmatch(name))


def remove_leftovers(*folders: Path) -> None:
    """Remove temporary files that killed processes left in these folders (not in their subfolders)."""
    for folder in folders:
        if folder.is_dir():
            for part in folder.iterdir():
                if is_leftover(part.name) and (part.is_symlink() or not part.is_dir()):  # a folder is not ours
                    part.unlink(missing_ok=True)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
