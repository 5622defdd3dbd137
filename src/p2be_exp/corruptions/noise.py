"""Noise that strikes every value by itself: gaussian, shot, impulse, speckle.

What becomes of a value depends on its level alone, so each of these corruptions is a table of 256 x 256 probabilities,
and a noisy value is one draw from its level's row: the exact distribution of the published formulas, clipping and
truncation included, for one random number a value.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from p2be_exp.corruptions.draws import Draws
from p2be_exp.system.compiled import compiled

Images = NDArray[np.uint8]

_LEVELS = np.arange(256)


def gaussian_noise(images: Images, constants: tuple[float], draws: Draws) -> Images:
    """x + N(0, c), x in [0, 1]."""
    return _sample(images, _gaussian(*constants), draws)


def shot_noise(images: Images, constants: tuple[float], draws: Draws) -> Images:
    """Poisson(x c) / c."""
    return _sample(images, _shot(*constants), draws)


def impulse_noise(images: Images, constants: tuple[float], draws: Draws) -> Images:
    """Each value becomes 0 with probability c/2 and 255 with probability c/2."""
    return _sample(images, _impulse(*constants), draws)


def speckle_noise(images: Images, constants: tuple[float], draws: Draws) -> Images:
    """x + x N(0, c)."""
    return _sample(images, _speckle(*constants), draws)


# Row k of a table: the probabilities that level k becomes at most 0, 1, ..., 254. A result v in [0, 1] is truncated to
# the level floor(255 v), so it is at most level j if v < (j + 1) / 255.


@lru_cache
def _gaussian(sigma: float) -> NDArray[np.float64]:
    return stats.norm.cdf((_LEVELS[1:] - _LEVELS[:, None]) / (255 * sigma))


@lru_cache
def _speckle(sigma: float) -> NDArray[np.float64]:
    rows = np.ones((256, 255))  # level 0 stays
    rows[1:] = stats.norm.cdf((_LEVELS[1:] / _LEVELS[1:, None] - 1) / sigma)
    return rows


@lru_cache
def _impulse(amount: float) -> NDArray[np.float64]:
    at_least = _LEVELS[:, None] <= _LEVELS[:255]
    return cast("NDArray[np.float64]", amount / 2 + (1 - amount) * at_least)


@lru_cache
def _shot(scale: float) -> NDArray[np.float64]:
    # Counts n with n/c in [j/255, (j+1)/255) give level j, computed as the formula does, in float64.
    counts = np.arange(int(scale) + 1)
    levels = np.minimum(counts / scale * 255, 255).astype(np.int64)
    largest = np.searchsorted(levels, _LEVELS[:255], side="right") - 1  # the largest count that gives at most level j
    return stats.poisson.cdf(largest, _LEVELS[:, None] / 255 * scale)


def _sample(images: Images, rows: NDArray[np.float64], draws: Draws) -> Images:
    values = images.reshape(len(images), -1)
    out = np.empty_like(values)
    _invert(values, rows, draws.uniform(values.shape[1]), out)
    return out.reshape(images.shape)


@compiled
def _invert(values, rows, uniform, out):
    """out = number of probabilities in the row of the value's level that are at most the draw."""
    for image in range(values.shape[0]):
        for place in range(values.shape[1]):
            row, draw = rows[values[image, place]], uniform[image, place]
            low, high = 0, 255
            while low < high:
                middle = (low + high) // 2
                if row[middle] <= draw:
                    low = middle + 1
                else:
                    high = middle
            out[image, place] = low
