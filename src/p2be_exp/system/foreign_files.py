"""Reading files from untrusted folders: no pipes that never end, and no unlimited sizes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 2**26
"""Maximum size of a text or JSON file in bytes; the largest evaluation has about 100,000."""


def open_file(file: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        OSError: it cannot be opened; or it is a pipe, a device or a folder, and may never end.
    """
    # Opening a pipe without a writer would block; other files open as usual.
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
    """The content of a UTF-8 text file of at most :data:`MOST_BYTES`.

    Raises:
        OSError: it cannot be read, or is too large.
        ValueError: it is not UTF-8.
    """
    with open_file(file) as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MOST_BYTES:,} bytes", str(file))
    return content.decode("utf-8")
