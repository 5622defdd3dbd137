"""Exclusive ownership of a folder: a lock held while a job writes to it.

The lock is ``flock`` on ``FOLDER/.lock``. The kernel releases it when the process ends, in whatever way, so nothing
needs to be cleaned up after a kill, and a paused process keeps it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from p2be_exp.errors import BadInput, InUse
from p2be_exp.system.atomic import reporting_full_disk

LOCK = ".lock"
"""The locked file. It is kept, since others may be about to lock it, and does not count as content of the folder.

It is removed only by the job that created it, if that job was refused or left nothing else behind: once :func:`owned`
has the lock, it checks whether the file still exists.
"""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@dataclass
class _Held:
    """A lock of this process: its descriptor, and the number of nested jobs that hold it."""

    descriptor: int
    made: bool
    """Whether this process created the file."""
    jobs: int = 1


_HELD: dict[tuple[int, int], _Held] = {}
"""By device and inode: a second descriptor of the same file would conflict within this process."""
_GUARD = threading.RLock()


@contextmanager
def owned(folder: Path, key: str, patience: float = 0.0) -> Iterator[bool]:
    """Hold the lock of a folder while the block runs; the folder is created if it does not exist.

    A process may hold it several times, nested; forked children do not hold it. A folder that was created for the block
    and is empty at the end is removed, and so is a lock file that was created for a block that refused its input: a
    refusal changes nothing on disk.

    Args:
        folder: a run, an evaluation, or any other output folder.
        key: the option that names the folder, for messages.
        patience: seconds to wait for another holder.

    Yields:
        Whether the lock is held; False if the file system does not support locks.

    Raises:
        InUse: another process holds it.
        BadInput: the folder cannot be created or written.
    """
    here = Path(folder).absolute()  # the block may change the working directory
    existing = next((each for each in (here, *here.parents) if each.exists()), None)
    identity, locked = _take(Path(folder), key, patience)
    refused = False
    try:
        yield locked
    except BadInput:
        refused = True
        raise
    finally:
        _release(identity, here, existing, refused)


def holds(folder: Path) -> bool:
    """Whether this process holds the lock of a folder."""
    try:
        status = (Path(folder) / LOCK).stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) in _HELD


def _take(folder: Path, key: str, patience: float) -> tuple[tuple[int, int], bool]:
    file, until = folder / LOCK, time.monotonic() + patience
    with _GUARD:
        while True:
            descriptor, made = _open(file, key)
            kept = False
            try:
                status = os.fstat(descriptor)
                identity = (status.st_dev, status.st_ino)
                if identity in _HELD:
                    _HELD[identity].jobs += 1
                    return identity, True
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(file, identity):  # otherwise its owner has just removed it with the empty folder
                    _sign(descriptor)
                    _HELD[identity] = _Held(descriptor, made)
                    kept = True
                    return identity, True
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    return identity, False
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if time.monotonic() >= until:
                    raise InUse(f"{key}={folder}: in use by {_owner(descriptor)}") from error
                time.sleep(0.2)
            finally:
                if not kept:  # also after a signal: an open descriptor would keep the lock until the process ends
                    os.close(descriptor)


def _open(file: Path, key: str) -> tuple[int, bool]:
    """A descriptor of the lock file, and whether the file was created."""
    # For writing, which NFS requires for locking; and never through a link.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with reporting_full_disk(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                return os.open(file, flags | os.O_EXCL, 0o666), True
            except FileExistsError:
                return os.open(file, flags, 0o666), False
    except OSError as error:
        why = f"{file.name} is a link" if error.errno == errno.ELOOP else error.strerror
        raise BadInput(f"{key}={file.parent}: cannot be written ({why})") from error


def _is_still(file: Path, identity: tuple[int, int]) -> bool:
    try:
        status = file.lstat()
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == identity


def _sign(descriptor: int) -> None:
    """Write the holder of the lock into its file, only for the messages of other processes.

    A file with further hard links, or with any other content, may belong to someone else and is not changed.
    """
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
    with contextlib.suppress(OSError):  # a full disk
        status = os.fstat(descriptor)
        if status.st_nlink == 1 and (not status.st_size or _signed(descriptor)):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text, 0)


def _owner(descriptor: int) -> str:
    return _signed(descriptor) or "another process"


def _signed(descriptor: int) -> str | None:
    """The last holder written into a lock file, as text; None for any other content."""
    try:
        signed = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {int(signed['pid'])} on {str(signed['host'])[:100]}"
    except Exception:  # arbitrary content: deeply nested JSON, invalid numbers
        return None


def _release(identity: tuple[int, int], folder: Path, existing: Path | None, refused: bool) -> None:
    with _GUARD:
        if (held := _HELD.get(identity)) is None:  # without locks, or in a forked child
            _remove_empty(folder, existing)
            return
        held.jobs -= 1
        if held.jobs:
            return
        try:
            _remove_empty(folder, existing)
            if refused and held.made and _is_still(folder / LOCK, identity):
                (folder / LOCK).unlink()
        except OSError:
            pass  # a remaining file must not hide how the block ended
        finally:
            del _HELD[identity]
            os.close(held.descriptor)


def _remove_empty(folder: Path, existing: Path | None) -> None:
    """Remove a folder that was created for a job and is empty but for the lock, and its created parents."""
    with contextlib.suppress(OSError):
        if existing is None or folder == existing or any(each.name != LOCK for each in folder.iterdir()):
            return
        (folder / LOCK).unlink(missing_ok=True)
        for each in (folder, *folder.parents):
            if each == existing or any(each.iterdir()):
                return
            each.rmdir()


def _forget() -> None:
    """In a forked child the lock is its parent's; closing this copy of the descriptor does not release it."""
    global _GUARD
    for held in _HELD.values():
        with contextlib.suppress(OSError):
            os.close(held.descriptor)
    _HELD.clear()
    _GUARD = threading.RLock()  # another thread may have held it


os.register_at_fork(after_in_child=_forget)
