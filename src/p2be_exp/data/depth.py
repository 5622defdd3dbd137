"""Grey pictures of more than 8 bits: to levels by the depth of their file, or a reason why not.

Pillow's ``convert("RGB")`` cuts their values off at 255: 16 and 32 bits become white, floats in [0, 1] black.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIXTEEN_BITS = {"PNG", "PPM", "JPEG2000"}
"""Formats whose deep grey pictures Pillow gives in 16 bits, whatever their own depth: values up to 65,535."""

LEAST_SHARE = 128
"""Of the values that a depth has, the first of so many parts would leave two levels at most: a black picture."""

_PART = 1 << 18  # values that are scaled at a time: a large picture in float64 would be four times what Pillow holds
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_WHITE_IS_ZERO, _UNSIGNED, _SIGNED = 0, 1, 2


class DepthError(ValueError):
    """A picture whose values have no known position between black and white; the message says why."""


def deep_levels(picture: Image.Image) -> NDArray[np.uint8] | None:
    """The levels of a grey picture of more than 8 bits, uint8 ``(H, W)``; None for every other picture.

    Integers are scaled by the largest value of their depth (16 bits: divided by 257), floats in [0, 1] by 255, both to
    the nearest level.

    Args:
        picture: opened, with the format that it had.

    Raises:
        DepthError: integers of a depth that the file does not give, or below 0; floats outside [0, 1]; either only in
            the first 128th of their depth, where a smaller depth is more likely than a black picture; signed bytes.
    """
    tags: Mapping[int, Any] = getattr(picture, "tag_v2", {}) if picture.format == "TIFF" else {}
    kind = tags.get(_SAMPLE_FORMAT, (_UNSIGNED,))[0]
    if picture.mode == "F":
        levels = _of_floats(np.asarray(picture))
    elif picture.mode == "I" or picture.mode.startswith("I;16"):
        levels = _of_integers(picture, tags, signed=kind == _SIGNED)
    elif kind == _SIGNED:
        raise DepthError("signed bytes: save it with levels 0 to 255")
    else:
        return None
    return 255 - levels if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else levels


def _of_integers(picture: Image.Image, tags: Mapping[int, Any], signed: bool) -> NDArray[np.uint8]:
    bits = 16 if picture.format in SIXTEEN_BITS else tags.get(_BITS, (None,))[0]
    if bits is None:
        raise DepthError(
            f"grey integers whose depth is not given in a {picture.format} file: save it with 8 or 16 bits"
        )
    values = np.asarray(picture)
    if bits == 32 and not signed:
        values = values.view(np.uint32)  # Pillow has only signed ones
    low, high, most = int(values.min()), int(values.max()), 2 ** (bits - signed) - 1
    if low < 0:
        raise DepthError(f"grey integers from {low:,} on: save it with 8 or 16 bits")
    if 0 < high < most / LEAST_SHARE:
        raise DepthError(
            f"grey values only up to {high:,}, of {most:,} in {bits} bits: nearly black; save it with 8 or 16 bits"
        )
    return _nearest(values, 255 / most)


def _of_floats(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())  # NaN where one is
    if not (low >= 0 and high <= 1):
        raise DepthError(f"grey floats from {low:g} to {high:g}: must be between 0 and 1")
    if 0 < high < 1 / LEAST_SHARE:
        raise DepthError(f"grey floats only up to {high:g}, of 1: nearly black")
    return _nearest(values, 255)


def _nearest(values: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    """Scaled values, none of them negative, as the nearest levels; in float64, a few rows at a time."""
    levels = np.empty(values.shape, dtype=np.uint8)
    rows = max(1, _PART // values.shape[1])
    for start in range(0, len(values), rows):
        part = slice(start, start + rows)
        levels[part] = np.multiply(values[part], scale, dtype=np.float64) + 0.5  # cut off on assignment
    return levels
