"""What one sees while a -C set is made: a bar on a terminal, elsewhere a line a corruption."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm


class BlockProgress:
    """A progress bar over images, entered while it is used.

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
        """So many images more of a corruption at a severity."""
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
