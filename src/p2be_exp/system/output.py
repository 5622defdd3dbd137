"""What is printed while a command runs: losing it ends nothing, and every encoding can take it."""

from __future__ import annotations

import codecs
import errno
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_READER_GONE = (errno.EPIPE, errno.EIO)
"""Whoever read a pipe has enough (head), or the terminal is gone (a lost ssh): nothing to be told, nobody to tell."""

_PLAIN = {"–": "-", "—": "-", "−": "-", "±": "+/-", "×": "x"}
"""What reports print beyond ASCII, as an encoding without it gets it."""


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """A handler of encoding errors, a character at a time: plain, or escaped; a byte of a file's name as it is."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    plain = _PLAIN.get(character) or character.encode("ascii", "backslashreplace").decode()
    return plain, error.start + 1


codecs.register_error("p2be_exp.plain", _replaced)


class LastingStream:
    """A stream that goes silent where it cannot be written any more, in the place of an error.

    Its file descriptor is then that of the null device, for whatever else writes there: C libraries, child processes,
    the interpreter at its end.

    Args:
        stream: what is written to; None, as the interpreter has it for a descriptor that was closed: nothing.
        name: for the message.

    Attributes:
        lost: why it went silent; None before, and where nobody is left to read it.
    """

    def __init__(self, stream: TextIO | None, name: str) -> None:
        self._stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # as long as this
        self._name = name
        self._silent = False
        self.lost: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, where that is possible; the length of the text."""
        if not self._silent:
            try:
                self._stream.write(text)
            except BlockingIOError:
                pass  # full for the moment
            except OSError as error:
                self._go_silent(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write one text after another."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand on what has been written, where that is possible."""
        if not self._silent:
            try:
                self._stream.flush()
            except BlockingIOError:
                pass
            except OSError as error:
                self._go_silent(error)

    def _go_silent(self, error: OSError) -> None:
        self._silent = True
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        except OSError:  # a stream without a descriptor
            pass
        if error.errno not in _READER_GONE:
            self.lost = error
            sys.stderr.write(f"error: {self._name}: cannot be written ({error.strerror}); no more is printed there\n")


@contextmanager
def lasting_output() -> Iterator[None]:
    """Print to :class:`LastingStream`, with characters that the encoding lacks replaced, while the block runs.

    It may be entered in itself.
    """
    _occupy_standard_descriptors()
    before = sys.stdout, sys.stderr
    handlers = [_with_errors(stream, "p2be_exp.plain") for stream in before]
    sys.stdout, sys.stderr = (
        stream if isinstance(stream, LastingStream) else LastingStream(stream, name)
        for stream, name in zip(before, ("stdout", "stderr"), strict=True)
    )
    lasting = sys.stdout, sys.stderr
    try:
        yield
    finally:
        for stream in lasting:
            stream.flush()
        sys.stdout, sys.stderr = before
        for was, errors in zip(before, handlers, strict=True):
            _with_errors(was, errors)


def for_terminal(text: str) -> str:
    """A text of several lines that does to a terminal nothing but show itself.

    Names and remarks in it may be a stranger's; control characters, which a terminal obeys, are written as escapes.

    >>> for_terminal("a\\x1b]0;title\\x07\\n")
    'a\\\\x1b]0;title\\\\x07\\n'
    """
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: ascii(found[0])[1:-1], text)


def print_result(text: str) -> None:
    """Print what a command was asked for, where nothing else keeps it.

    Raises:
        SystemExit: with 1; it could not be written, which has been told. A reader that has enough is no failure.
    """
    print(for_terminal(text), flush=True)
    if getattr(sys.stdout, "lost", None) is not None:
        raise SystemExit(1)


def _with_errors(stream: TextIO | None, errors: str | None) -> str | None:
    """Set how a stream takes characters that its encoding lacks; how it took them before, None where it cannot tell."""
    before = getattr(stream, "errors", None)
    if errors is not None and before is not None and stream is not None and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=errors)
        return before
    return None


def _occupy_standard_descriptors() -> None:
    """Open those that are closed onto the null device: a file that got one of them would be printed into."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
