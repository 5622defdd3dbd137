"""Output of a command: losing it is not an error, and it can be printed in every encoding."""

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
"""The reader of a pipe has finished (``head``), or the terminal is gone (a lost ssh): there is nothing to report."""

_PLAIN = {"–": "-", "—": "-", "−": "-", "±": "+/-", "×": "x"}
"""ASCII replacements of the other characters in reports, for encodings that lack them."""


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """Handle encoding errors by character: replaced or escaped; a byte of a file name is kept."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":
        return bytes([ord(character) - 0xDC00]), error.start + 1
    plain = _PLAIN.get(character) or character.encode("ascii", "backslashreplace").decode()
    return plain, error.start + 1


codecs.register_error("p2be_exp.plain", _replaced)


class LastingStream:
    """A stream that becomes silent, instead of raising an error, when it can no longer be written.

    Its file descriptor is then redirected to the null device, for other writers: C libraries, child processes, the
    interpreter at exit.

    Args:
        stream: the stream to write to; None, the interpreter's value for a closed descriptor, discards the output.
        name: for messages.

    Attributes:
        lost: why it became silent; None before, and if only the reader is gone.
    """

    def __init__(self, stream: TextIO | None, name: str) -> None:
        self._stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # open as long as this object
        self._name = name
        self._silent = False
        self.lost: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write if possible; return the length of the text."""
        if not self._silent:
            try:
                self._stream.write(text)
            except BlockingIOError:
                pass  # full for the moment
            except OSError as error:
                self._go_silent(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush if possible."""
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
            sys.stderr.write(f"error: {self._name}: cannot be written ({error.strerror}); no more output goes there\n")


@contextmanager
def lasting_output() -> Iterator[None]:
    """Replace standard output and error by :class:`LastingStream` while the block runs; may be nested.

    Characters that the encoding lacks are replaced.
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
    """Text of several lines that is safe to print on a terminal.

    Names and remarks in it may be untrusted; control characters, which a terminal obeys, are escaped.

    >>> for_terminal("a\\x1b]0;title\\x07\\n")
    'a\\\\x1b]0;title\\\\x07\\n'
    """
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: ascii(found[0])[1:-1], text)


def print_result(text: str) -> None:
    """Print the result of a command, which is not stored anywhere else.

    Raises:
        SystemExit: with 1 if it could not be written, which has been reported. A closed pipe is not a failure.
    """
    print(for_terminal(text), flush=True)
    if getattr(sys.stdout, "lost", None) is not None:
        raise SystemExit(1)


def _with_errors(stream: TextIO | None, errors: str | None) -> str | None:
    """Set the encoding error handler of a stream; return the previous one, or None if it cannot be changed."""
    before = getattr(stream, "errors", None)
    if errors is not None and before is not None and stream is not None and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=errors)
        return before
    return None


def _occupy_standard_descriptors() -> None:
    """Open closed standard descriptors on the null device: output would go into a file that got one of them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
