"""Random resized crop and flip of one picture: its box as a function of draws and of the picture's size.

Source: Szegedy et al. 2015, "Going deeper with convolutions"; torchvision's ``RandomResizedCrop`` with its default
scale and ratio, followed by a horizontal flip with probability 1/2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

SCALE = (0.08, 1.0)  # area of the crop over that of the picture
RATIO = (3 / 4, 4 / 3)  # width of the crop over its height
TRIES = 10
DRAWS = 1 + 4 * TRIES
"""Uniform draws per picture: one for the flip; area, ratio, top and left of each try."""


class CropBox(NamedTuple):
    """A part of a picture, in pixels, and whether it is flipped."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def crop_box(draws: Sequence[float], height: int, width: int) -> CropBox:
    """The box of the first try that fits into the picture; the largest centred box if none of the ten does.

    Args:
        draws: ``DRAWS`` numbers in [0, 1).
        height: of the picture, in pixels.
        width: likewise.
    """
    flip = draws[0] < 0.5
    low, high = (math.log(ratio) for ratio in RATIO)
    for first in range(1, DRAWS, 4):
        area, ratio, top, left = draws[first : first + 4]
        target = height * width * (SCALE[0] + (SCALE[1] - SCALE[0]) * area)
        aspect = math.exp(low + (high - low) * ratio)
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return CropBox(int(top * (height - h + 1)), int(left * (width - w + 1)), h, w, flip)
    h, w = height, width
    if width < height * RATIO[0]:
        h = round(width / RATIO[0])
    elif width > height * RATIO[1]:
        w = round(height * RATIO[1])
    return CropBox((height - h) // 2, (width - w) // 2, h, w, flip)
