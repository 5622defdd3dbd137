"""Digests of whole files, each computed once: remembered with what distinguishes the file from a changed one.

A file is the same while its device, inode, size, and times of modification and of change (ctime, which no program can
set back) are the same. So a byte that was changed in place is found even where the time of modification was put back.
Within a process every digest is remembered; those of large files also in ``digests.json`` in the user's cache folder
(``$XDG_CACHE_HOME/p2be_exp``, else ``~/.cache/p2be_exp``), never beside the files: their folder may be shared or
read-only. What cannot be read or written there is computed anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from p2be_exp.errors import ResourceError
from p2be_exp.system.atomic import write_json
from p2be_exp.system.parallel import in_order
from p2be_exp.system.threads import usable_cpus

LARGE = 2**24
"""Bytes from which on a file's digest is kept for other processes: smaller files are read in no time."""

SETTLED_SECONDS = 2
"""Age of a file's last change from which on its digest is remembered: until then another change may have the same time,
which file systems write down in steps of milliseconds to seconds."""

_keeping = Lock()  # of the threads of this process
_known: dict[tuple[Any, ...], str] = {}  # of this process, by algorithm and identity


def file_digest(file: Path, algorithm: str) -> str:
    """Digest of a file's content, as hexadecimal digits.

    Args:
        file: which.
        algorithm: ``md5`` or ``sha256``.

    Raises:
        OSError: it cannot be read.
    """
    with Path(file).open("rb") as stream:
        before = _identity(stream.fileno())
        found = _known.get((algorithm, *before)) or _kept(file, algorithm, before)
        if found is None:
            started = time.time()
            # It is not about security: a system where md5 is forbidden for that has it for this.
            found = hashlib.file_digest(stream, partial(hashlib.new, algorithm, usedforsecurity=False)).hexdigest()
            *_, modified, changed = before
            # A time of modification in the future was set by hand, as that of change cannot be.
            latest = changed if modified / 1e9 > started else max(modified, changed)
            settled = started - latest / 1e9 >= SETTLED_SECONDS
            if not settled or _identity(stream.fileno()) != before:
                return found  # it may be that it is being written
            _keep(file, algorithm, before, found)
        _known[(algorithm, *before)] = found
        return found


def file_digests(files: Iterable[Path], algorithm: str) -> list[str]:
    """Digests of several files, in their order, two at a time and more where there are cores.

    Raises:
        OSError: one cannot be read.
    """
    return list(in_order(partial(file_digest, algorithm=algorithm), files, min(8, max(2, usable_cpus()))))


def _identity(handle: int) -> tuple[int, ...]:
    about = os.fstat(handle)
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _kept(file: Path, algorithm: str, identity: tuple[int, ...]) -> str | None:
    """The digest that an earlier process kept of this very file; None where there is none."""
    _, _, size, *_ = identity
    entry = _entries().get(_entry(file, algorithm)) if size >= LARGE else None
    if not isinstance(entry, dict) or entry.get("identity") != list(identity):
        return None
    digest = entry.get("digest")
    return digest if isinstance(digest, str) and len(digest) == 2 * hashlib.new(algorithm).digest_size else None


def _keep(file: Path, algorithm: str, identity: tuple[int, ...], digest: str) -> None:
    _, _, size, *_ = identity
    if size < LARGE or (cache := _cache_file()) is None:
        return
    # Two processes at a time may lose each other's entries, which are then computed again.
    with _keeping, suppress(OSError, ResourceError):  # a folder that cannot be written, a full disk
        write_json(cache, {**_entries(), _entry(file, algorithm): {"identity": list(identity), "digest": digest}})


def _entry(file: Path, algorithm: str) -> str:
    return f"{algorithm} {Path(file).absolute()}"


def _entries() -> dict[str, Any]:
    if (cache := _cache_file()) is None:
        return {}
    try:
        entries = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # none yet, or damaged: it is written anew
        return {}
    return entries if isinstance(entries, dict) else {}


def _cache_file() -> Path | None:
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():  # an empty or a relative one does not count, by its own specification
        try:
            cache = Path("~/.cache").expanduser()
        except RuntimeError:  # a user without a home directory
            return None
    return cache / "p2be_exp" / "digests.json"
