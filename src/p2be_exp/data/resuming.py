"""One large file over HTTP: loaded behind what an earlier attempt left of it."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import p2be_exp
from p2be_exp.data.fetching import TIMEOUT_SECONDS, one_line
from p2be_exp.errors import ResourceError
from p2be_exp.system.atomic import full_line, is_full

BLOCK = 1 << 20
"""The most bytes that are read at a time."""

PAUSES = (1.0, 5.0, 20.0)
"""Seconds before a load that broke off is gone on with; after so many attempts without a byte more it is given up."""

_PASSING = (408, 429, 500, 502, 503, 504)
"""What a server says that may say another thing a moment later."""

_NOTHING_THERE = 416
"""What a server says that is asked to begin behind the end of its file."""


class NotLoadedError(ResourceError):
    """A server cannot be reached, or does not give the whole of a file, today."""


def load(
    url: str,
    file: Path,
    size: int,
    progress: Callable[[int], None] = lambda done: None,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Load a file whose size is known; what is there of it is taken for its beginning.

    Whether it is the right file is for the caller to see, by its digest: a part that is there is not looked at. A
    connection that breaks off is made anew (see :data:`PAUSES`). A server that cannot begin in the middle of a file
    begins again.

    Args:
        url: of the file.
        file: where it grows; it is made when its first bytes come.
        size: of the whole file, in bytes.
        progress: called with the number of bytes that are there.
        say: called with a line where something is done again.

    Raises:
        NotLoadedError: the server cannot be reached, has no such file, or breaks off again and again.
        ResourceError: its file is of another size; the file cannot be written.
    """
    if _length(file) > size:
        say(f"{file.name}: what is there of it is longer than the published file; starting over")
        file.unlink()
    pauses, farthest, begun = iter(PAUSES), _length(file), False
    while (have := _length(file)) < size:
        try:
            _attempt(url, file, size, progress, say)
            if _length(file) < size:
                raise ConnectionError("the server closed the connection")
        except (OSError, http.client.HTTPException) as error:
            begun = begun or _length(file) != have
            if _length(file) > farthest:
                pauses, farthest = iter(PAUSES), _length(file)
            # Whoever is offline, or asks for what there is not, gets the error at once.
            again = error.code in _PASSING if isinstance(error, urllib.error.HTTPError) else begun
            pause = next(pauses, None) if again else None
            if pause is None:
                raise NotLoadedError(_broken(url, file, size, error)) from error
            say(f"{file.name}: {_why(error)}; going on in {pause:g} s")
            time.sleep(pause)


def _attempt(url: str, file: Path, size: int, progress: Callable[[int], None], say: Callable[[str], None]) -> None:
    """Load by one connection, as far as it goes.

    Raises:
        OSError, http.client.HTTPException: of the network.
        ResourceError: what no other attempt would change.
    """
    have = _length(file)
    headers = {"User-Agent": f"p2be-exp/{p2be_exp.__version__}", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _NOTHING_THERE:
            raise ResourceError(_other(url, f"{have:,} bytes or fewer", size)) from error
        raise
    with response:
        done = _start(response, url, have, size)
        if done < have:
            say(f"{file.name}: the server cannot continue in the middle of a file; starting over")
        with _opened(file, "ab" if done else "wb") as part:
            while done < size and (block := response.read1(min(BLOCK, size - done))):
                _write(part, block, file)
                done += len(block)
                progress(done)


def _start(response: Any, url: str, have: int, size: int) -> int:
    """The position in the file at which an answer begins.

    Raises:
        ResourceError: it is of another file, or begins where it was not asked to.
    """
    if response.status == http.client.PARTIAL_CONTENT:
        header = response.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", header.strip())
        if found is None or int(found[1]) != have:
            raise ResourceError(f"{url}: asked for bytes from {have:,}, the server sends {header or 'no range'}")
        start, total = have, found[2]
    else:
        start, total = 0, response.headers.get("Content-Length", "*")
    if total.isdecimal() and int(total) != size:
        raise ResourceError(_other(url, f"{int(total):,} bytes", size))
    return start


@contextmanager
def _opened(file: Path, mode: str) -> Iterator[Any]:
    with _told(file):
        part = file.open(mode, buffering=0)
    try:
        yield part
    finally:
        with _told(file):
            part.close()


def _write(part: Any, block: bytes, file: Path) -> None:
    rest = memoryview(block)
    with _told(file):
        while len(rest):
            rest = rest[part.write(rest) :]


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Tell what goes wrong with the file apart from what does with the network: both are ``OSError``."""
    try:
        yield
    except OSError as error:
        line = full_line(file, error) if is_full(error) else f"{file}: cannot be written ({error.strerror or error})"
        raise ResourceError(line) from error


def _length(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _broken(url: str, file: Path, size: int, error: Exception) -> str:
    if have := _length(file):
        return f"{url}: loaded {have:,} of {size:,} bytes ({_why(error)})"
    return f"{url}: cannot be loaded ({_why(error)})"


def _other(url: str, found: str, size: int) -> str:
    return f"{url}: another file than the published one: it has {found}, and the published one {size:,}"


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None)  # of urllib's, without its wrapping
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {one_line(Exception(error.reason))}".rstrip()
    return one_line(reason if isinstance(reason, Exception) else error) or type(error).__name__
