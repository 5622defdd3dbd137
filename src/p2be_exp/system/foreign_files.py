"""Files in a folder that somebody else may have made: neither a pipe that never ends, nor a text without end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 2**26
"""Bytes of a text or JSON file at most; those of the largest evaluation have some 100,000."""


def open_file(file: Path) -> BinaryIO:
    """Open a file to read it.

    Raises:
        OSError: it cannot be opened; or is a pipe, a device or a folder, which may never come to an end.
    """
    # A pipe without a writer would make the opening wait, and anything else is no slower to open.
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "a pipe or a device, no file", str(file))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_text(file: Path) -> str:
    """The content of a text file, UTF-8, of :data:`MOST_BYTES` at most.

    Raises:
        OSError: it cannot be read, or is too large.
        ValueError: it is not UTF-8.
    """
    with open_file(file) as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MOST_BYTES:,} bytes", str(file))
    return content.decode("utf-8")
