"""What a job prints, kept in a file beside its results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from p2be_exp.system.output import for_terminal


@contextmanager
def console_log(path: Path, command: str) -> Iterator[None]:
    """Append what Python prints while the block runs, on standard output and error, to a file as well.

    Of a line that is drawn over again and again, as a progress bar is, the last state is kept. Control characters are
    escaped, so that the file is safe to show. Output is never lost for want of the file: where it cannot be written
    (a full disk), it ends there.

    Args:
        path: the file, whose folder exists. A link is not followed: then nothing is written.
        command: what was typed, for the line that the block begins with.
    """
    log = _Log(path)
    log.line(f"== {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}  {command}")
    before = sys.stdout, sys.stderr
    both = [_Both(stream, log) for stream in before]
    sys.stdout, sys.stderr = both  # type: ignore[assignment]  # all that is used of a stream
    try:
        yield
    except BaseException as error:
        for each in both:
            each.end_line()
        if not isinstance(error, SystemExit):
            log.line(f"{type(error).__name__}: {error}")
        raise
    finally:
        sys.stdout, sys.stderr = before
        for each in both:
            each.end_line()
        log.close()


class _Log:
    """A file that lines are appended to until it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO | None = None
        with suppress(OSError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            self._file = os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")

    def line(self, text: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(f"{for_terminal(text)}\n")
            self._file.flush()
        except OSError:
            self.close()

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None


class _Both:
    """A stream whose lines go to a log, too."""

    def __init__(self, stream: TextIO, log: _Log) -> None:
        self._stream, self._log = stream, log
        self._present = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write to the stream; return the length of the text."""
        *whole, last = f"{self._present}{text}".split("\n")
        for each in whole:
            self._log.line(_last_state(each))
        self._present = last.rpartition("\r")[2] if not last.endswith("\r") else last
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def end_line(self) -> None:
        """Log a line that has no end."""
        if self._present:
            self._log.line(_last_state(self._present))
            self._present = ""


def _last_state(line: str) -> str:
    """What is seen of a line in the end: behind the last carriage return that something follows."""
    return line.rstrip("\r").rpartition("\r")[2]
