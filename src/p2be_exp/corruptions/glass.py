"""Glass blur: pixels overwritten by near ones, between two gaussian blurs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2be_exp.corruptions.blur import Images, smoothed, to_levels
from p2be_exp.corruptions.draws import Draws
from p2be_exp.system.compiled import compiled


def glass_blur(images: Images, constants: tuple[float, int, int], draws: Draws) -> Images:
    """Gaussian of ``sigma``, brought to levels; ``passes`` scatterings within ``reach`` pixels; the gaussian again.

    The published generators mean to swap two pixels, but the arrays that hold them share memory: the pixel is
    overwritten and its partner keeps its value. So here too it is a copy, not a swap.
    """
    sigma, reach, passes = constants
    out = to_levels(smoothed(images, sigma))
    _scatter(out, reach, _offsets(out, reach, passes, draws))
    return to_levels(smoothed(out, sigma))


def _offsets(images: Images, reach: int, passes: int, draws: Draws) -> NDArray[np.int64]:
    """Draws of the scattering, from -reach to reach - 1: ``(B, passes, visited pixels, 2)``, each (right, down)."""
    height, width = images.shape[1:3]
    visited = (height - 2 * reach) * (width - 2 * reach)
    return draws.integers(-reach, reach, passes * visited * 2).reshape(len(images), passes, visited, 2)


@compiled
def _scatter(images, reach, offsets):
    """In place, rows then columns from the last one down: each pixel becomes what its partner is at that moment."""
    _, height, width, channels = images.shape
    for image in range(len(images)):
        for turn in range(offsets.shape[1]):
            visit = 0
            for row in range(height - reach, reach, -1):
                for column in range(width - reach, reach, -1):
                    right, down = offsets[image, turn, visit]
                    visit += 1
                    for channel in range(channels):
                        images[image, row, column, channel] = images[image, row + down, column + right, channel]
