"""Motion blur: a fading trail in one direction, by the rule of ImageMagick, which the published generators call."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from p2be_exp.corruptions.blur import Floats, Images, sum_of_shifts
from p2be_exp.corruptions.draws import Draws

_SIXTEEN_BITS = 257  # ImageMagick computes with values of 16 bits: level * 257


def motion_blur(images: Images, constants: tuple[float, float], draws: Draws) -> Images:
    """A trail of ``radius`` and ``sigma`` pixels in a direction within 45 degrees of the horizontal."""
    return blur_along(images, *constants, draws.between(-45, 45, 1)[:, 0])


def blur_along(images: Images, radius: float, sigma: float, angles: Floats) -> Images:
    """Each image blurred one-sidedly along its own direction, edge pixels repeated beyond the edge.

    The sum is rounded to 16 bits, which are brought to 8 by flooring.

    Args:
        images: uint8 ``(B, H, W, C)``, any number of channels.
        radius: the trail has ``2 ceil(radius) + 1`` taps, one pixel apart.
        sigma: of the gaussian that the taps' weights fall off with, in pixels.
        angles: ``(B,)``, in degrees; 0 reads to the right, 90 below.

    Returns:
        uint8 ``(B, H, W, C)``.

    Source: ``MotionBlurImage`` of ImageMagick 6.
    """
    steps = np.arange(2 * ceil(radius) + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    total = sum_of_shifts(images, _SIXTEEN_BITS * np.arange(256.0), trail(steps, angles), weights / weights.sum())
    return ((total + 0.5).astype(np.int32) // _SIXTEEN_BITS).astype(np.uint8)


def trail(steps: NDArray[np.int64], angles: Floats) -> NDArray[np.int64]:
    """Where the taps read: ``(B, K, 2)``, (down, right), whole pixels, a half rounded down.

    Computed in float64 as it stands. A step ends on an exact half at multiples of 30 degrees alone (an odd step times
    1/2), where the last bit of the sine decides; an angle drawn at random meets none of them.
    """
    radians = np.deg2rad(angles)[:, None]
    exact = np.stack([steps * np.sin(radians), steps * np.cos(radians)], axis=2)
    return np.ceil(exact - 0.5).astype(np.int64)
