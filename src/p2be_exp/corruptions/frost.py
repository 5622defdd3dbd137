"""Frost: a picture of frost over a darkened image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.textures import Textures

__all__ = ["Textures", "frost"]

Images = NDArray[np.uint8]

_LEVELS = np.arange(256)


def frost(images: Images, constants: tuple[float, float], draws: Draws, textures: Textures) -> Images:
    """c0 times the image plus c1 times a place in one of five textures, both chosen at random for each image.

    Of a texture of n rows and images of H, the place begins at one of the rows 0 to n - H - 1, as published: never at
    the last that would fit. Columns likewise. Draw 0 of an image is its texture, 1 and 2 are row and column.
    """
    keep, weight = constants
    height, width = images.shape[1:3]
    overlays = textures.scaled_for(height, width)
    chosen, place = draws.integers(0, len(overlays), 1)[:, 0], draws.uniform(2, start=1)
    # The result depends on two levels alone: entry 256 * image's + texture's.
    table = np.clip(keep * _LEVELS[:, None] + weight * _LEVELS, 0, 255).astype(np.uint8).ravel()
    entries = images.astype(np.uint16) << 8
    for image, number in enumerate(chosen):
        overlay = overlays[number]
        row, column = (place[image] * (overlay.shape[0] - height, overlay.shape[1] - width)).astype(int)
        entries[image] += overlay[row : row + height, column : column + width]
    return table[entries]
