"""Progress of making or reading a -C set: a bar on a terminal, otherwise occasional lines."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

_NEXT_LINES = 60.0
"""Seconds between two progress lines."""


class BlockProgress:
    """A progress bar over images; a context manager.

    Args:
        total: number of images, over all corruptions and severities.
    """

    def __init__(self, total: int) -> None:
        self._bar = tqdm(
            total=total, unit="image", unit_scale=True, dynamic_ncols=True, disable=not sys.stderr.isatty()
        )
        self._terminal = sys.stderr.isatty()
        self._name, self._images, self._begin = "", 0, time.monotonic()

    def __enter__(self) -> BlockProgress:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._say()
        self._bar.close()

    def __call__(self, name: str, severity: int, images: int) -> None:
        """Add a number of images of a corruption at a severity."""
        if name != self._name:
            self._say()
            self._name, self._images, self._begin = name, 0, time.monotonic()
        self._images += images
        self._bar.set_description_str(f"{name} {severity}", refresh=False)
        self._bar.update(images)

    def _say(self) -> None:
        if self._name and not self._terminal:
            speed = self._images / max(time.monotonic() - self._begin, 1e-9)
            print(f"{self._name}: {self._images:,} images, {speed:,.0f} a second", flush=True)


class ByteProgress:
    """A progress bar over bytes; a context manager. Without a terminal it prints nothing, or occasional lines.

    Args:
        what: description of the task.
        total: number of bytes.
        done: bytes that existed before.
        lines: whether to print lines without a terminal: one per tenth, and one per minute.
    """

    def __init__(self, what: str, total: int, done: int = 0, lines: bool = False) -> None:
        self._what, self._total, self._done, self._first = what, total, done, done
        self._terminal = sys.stderr.isatty()
        self._lines = lines and not self._terminal
        self._begin = self._last = time.monotonic()
        self._tenth = self._tenth_of(done)
        self._bar = tqdm(
            desc=what,
            total=total,
            initial=done,
            unit="B",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not self._terminal,
        )

    def __enter__(self) -> ByteProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def more(self, length: int) -> None:
        """Add a number of bytes."""
        self.reach(self._done + length)

    def reach(self, done: int) -> None:
        """Set the number of bytes done; fewer than before if the task was restarted."""
        now = time.monotonic()
        if done < self._done:
            self._first, self._begin = 0, now
        self._bar.update(done - self._done)
        self._done, tenth = done, self._tenth_of(done)
        if self._lines and (tenth != self._tenth or now - self._last >= _NEXT_LINES):
            self._tenth, self._last = tenth, now
            speed = (done - self._first) / 1e6 / max(now - self._begin, 1e-9)
            print(f"{self._what}: {done:,} of {self._total:,} bytes, {speed:,.1f} MB/s", flush=True)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if self._terminal:
            tqdm.write(line)
        else:
            print(line, flush=True)

    def _tenth_of(self, done: int) -> int:
        return 10 * done // max(self._total, 1)
