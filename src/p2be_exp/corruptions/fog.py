"""Fog: a light cloud of all sizes over the image, which loses contrast so that it gets no brighter than it was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from p2be_exp.corruptions.blur import Images, to_levels
from p2be_exp.corruptions.draws import Draws

_FIRST_WIBBLE = 100.0


def fog(images: Images, constants: tuple[float, float], draws: Draws) -> Images:
    """(x + c0 plasma) mx / (mx + c0), where mx is the largest value of the clean image in any channel.

    The plasma is one for the three channels. A black image (mx = 0) stays black.
    """
    strength, decay = constants
    height, width = images.shape[1:3]
    side = 1 << (max(height, width) - 1).bit_length()
    cloud = plasma(draws.uniform(side * side).reshape(-1, side, side), decay)[:, :height, :width, None]
    largest = images.max(axis=(1, 2, 3), keepdims=True) / 255
    x = images / 255
    x += strength * cloud
    x *= largest
    x /= largest + strength
    return to_levels(x)


def plasma(uniform: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    """A random height map by midpoint displacement (diamond-square) on a torus, from 0 to 1.

    The corner is 0 and the step the whole side. In a round, the centre of every square of known points, then the middle
    of every edge between two of them, becomes the mean of its four nearest known points plus
    ``wibble * U(-wibble, wibble)``: the wibble, at first 100, enters twice. Each round halves the step and divides the
    wibble by ``decay``.

    Args:
        uniform: ``(B, N, N)`` in [0, 1), N a power of two; every point's own random number (the corner uses none).
        decay: of the wibble.

    Returns:
        float64 ``(B, N, N)``, minus its smallest, then divided by its largest value.

    Source: ``plasma_fractal`` in the published ``make_cifar_c.py``.
    """
    side = uniform.shape[1]
    height = np.zeros_like(uniform)
    step, wibble = side, _FIRST_WIBBLE
    while step >= 2:
        known, middle = slice(None, None, step), slice(step // 2, None, step)
        corners = height[:, known, known]
        right, below = np.roll(corners, -1, axis=2), np.roll(corners, -1, axis=1)
        four = (corners + below) + (right + np.roll(right, -1, axis=1))
        height[:, middle, middle] = four / 4 + _bumps(uniform[:, middle, middle], wibble)
        centres = height[:, middle, middle]
        four = (centres + np.roll(centres, 1, axis=1)) + (corners + right)
        height[:, known, middle] = four / 4 + _bumps(uniform[:, known, middle], wibble)
        four = (centres + np.roll(centres, 1, axis=2)) + (corners + below)
        height[:, middle, known] = four / 4 + _bumps(uniform[:, middle, known], wibble)
        step, wibble = step // 2, wibble / decay
    height -= height.min(axis=(1, 2), keepdims=True)
    height /= height.max(axis=(1, 2), keepdims=True)
    return height


def _bumps(uniform: NDArray[np.float64], wibble: float) -> NDArray[np.float64]:
    return wibble * (2 * wibble * uniform - wibble)
