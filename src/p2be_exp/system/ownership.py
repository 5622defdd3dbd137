"""One owner at a time: a lock on a folder, held while a job writes into it.

The lock is ``flock`` on ``FOLDER/.lock``. The kernel lets go of it when the process ends, however that happens, so that
nothing has to be cleaned up after a kill, and a process that is paused still has it.
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
from p2be_exp.system.atomic import told_when_full

LOCK = ".lock"
"""The file that is locked. It stays, since others may be about to lock it, and is not counted as a folder's content.

Only what a job made that was refused, or left nothing behind, goes again: :func:`owned` looks, once it has the lock,
whether the file is still there.
"""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@dataclass
class _Held:
    """A lock of this process: its descriptor, and how many jobs, one inside the other, hold it."""

    descriptor: int
    made: bool
    """Whether this process made the file."""
    jobs: int = 1


_HELD: dict[tuple[int, int], _Held] = {}
"""By device and inode: a second descriptor of the same file would be refused by its own process."""
_GUARD = threading.RLock()


@contextmanager
def owned(folder: Path, key: str, patience: float = 0.0) -> Iterator[bool]:
    """Hold the lock of a folder, which is made if it is not there, while the block runs.

    A process may hold it several times, one inside the other; its forked children do not have it. A folder that was
    made for the block, and has nothing in it at the end, is removed again; so is a lock that was made for a block that
    refused its input, which changes nothing on disk.

    Args:
        folder: a run, an evaluation, whatever is written to.
        key: the option under which the user gave it, for the message.
        patience: seconds to wait for whoever holds it.

    Yields:
        Whether the lock is held: False where the file system has none.

    Raises:
        InUse: another process holds it.
        BadInput: the folder cannot be made or written.
    """
    here = Path(folder).absolute()  # the block may go to another folder
    existing = next((each for each in (here, *here.parents) if each.exists()), None)
    place, locked = _take(Path(folder), key, patience)
    refused = False
    try:
        yield locked
    except BadInput:
        refused = True
        raise
    finally:
        _release(place, here, existing, refused)


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
                place = (status.st_dev, status.st_ino)
                if place in _HELD:
                    _HELD[place].jobs += 1
                    return place, True
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_still(file, place):  # else its owner has just removed it, with the folder that was empty
                    _sign(descriptor)
                    _HELD[place] = _Held(descriptor, made)
                    kept = True
                    return place, True
            except OSError as error:
                if error.errno in _NO_LOCKS:
                    return place, False
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if time.monotonic() >= until:
                    raise InUse(f"{key}={folder}: in use by {_owner(descriptor)}") from error
                time.sleep(0.2)
            finally:
                if not kept:  # a signal may have come as well: what stayed open would be locked to the process's end
                    os.close(descriptor)


def _open(file: Path, key: str) -> tuple[int, bool]:
    """A descriptor of a lock's file, and whether the file was made for it."""
    # For writing, which NFS asks of whoever locks; and never through a link.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with told_when_full(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                return os.open(file, flags | os.O_EXCL, 0o666), True
            except FileExistsError:
                return os.open(file, flags, 0o666), False
    except OSError as error:
        why = f"{file.name} is a link" if error.errno == errno.ELOOP else error.strerror
        raise BadInput(f"{key}={file.parent}: cannot be written ({why})") from error


def _is_still(file: Path, place: tuple[int, int]) -> bool:
    try:
        status = file.lstat()
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == place


def _sign(descriptor: int) -> None:
    """Write who holds the lock, for whoever is refused; it decides nothing.

    Where the file has another name, too, or holds anything but such a signature, it is somebody's, and stays as it is.
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
    """Who signed a lock last, as text; None where it holds anything else."""
    try:
        signed = json.loads(os.pread(descriptor, 1000, 0))
        return f"process {int(signed['pid'])} on {str(signed['host'])[:100]}"
    except Exception:  # whatever was put there: JSON without end, numbers that are none
        return None


def _release(place: tuple[int, int], folder: Path, existing: Path | None, refused: bool) -> None:
    with _GUARD:
        if (held := _HELD.get(place)) is None:  # without locks, or in a forked child
            _remove_empty(folder, existing)
            return
        held.jobs -= 1
        if held.jobs:
            return
        try:
            _remove_empty(folder, existing)
            if refused and held.made and _is_still(folder / LOCK, place):
                (folder / LOCK).unlink()
        except OSError:
            pass  # a file that stays is no reason to hide how the block ended
        finally:
            del _HELD[place]
            os.close(held.descriptor)


def _remove_empty(folder: Path, existing: Path | None) -> None:
    """Remove a folder that was made for a job and has nothing but the lock in it, and those above that were made."""
    with contextlib.suppress(OSError):
        if existing is None or folder == existing or any(each.name != LOCK for each in folder.iterdir()):
            return
        (folder / LOCK).unlink(missing_ok=True)
        for each in (folder, *folder.parents):
            if each == existing or any(each.iterdir()):
                return
            each.rmdir()


def _forget() -> None:
    """In a forked child: the lock is its parent's. Closing this copy of the descriptor leaves the parent's alone."""
    global _GUARD
    for held in _HELD.values():
        with contextlib.suppress(OSError):
            os.close(held.descriptor)
    _HELD.clear()
    _GUARD = threading.RLock()  # another thread may have held it


os.register_at_fork(after_in_child=_forget)
