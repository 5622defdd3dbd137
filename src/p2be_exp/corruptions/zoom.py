"""Zoom blur, and the linear zoom into an image's centre that snow is made with too."""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from p2be_exp.corruptions.blur import Images, to_levels
from p2be_exp.corruptions.draws import Draws
from p2be_exp.system.compiled import compiled

FloatArray = TypeVar("FloatArray", NDArray[np.float32], NDArray[np.float64])


def zoom_blur(images: Images, constants: tuple[float, ...], draws: Draws) -> Images:
    """The mean of the image and its zooms by each of the constants, in float32 as published."""
    x = (np.arange(256) / 255).astype(np.float32)[images]
    return to_levels((x + sum_of_zooms(x, constants)) / (len(constants) + 1))


def sum_of_zooms(x: FloatArray, factors: tuple[float, ...]) -> FloatArray:
    """The zooms of images into their centre, added up in the images' own precision.

    One zoom by f, of rows and columns alike: of n pixels, the middle ceil(n/f) are resampled linearly to
    round(f ceil(n/f)), first and last pixel staying first and last, and the middle n of these are kept.

    Args:
        x: float32 or float64 ``(B, H, W, C)``.
        factors: each 1 or more.

    Returns:
        As ``x``.

    Source: ``clipped_zoom`` in the published ``make_cifar_c.py``; there SciPy's ``zoom`` of order 1, to the bit.
    """
    height, width, channels = x.shape[1:]
    lines = x.reshape(len(x), height, width * channels)
    out = np.zeros_like(lines)
    _add_zooms(lines, channels, *_taps(height, factors), *_taps(width, factors), out)
    return out.reshape(x.shape)


@lru_cache
def _taps(length: int, factors: tuple[float, ...]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each factor and place, ``(F, length, 2)``: the two places that are read, and their weights."""
    places, weights = zip(*(_taps_of_one(length, factor) for factor in factors), strict=True)
    return np.stack(places), np.stack(weights)


def _taps_of_one(length: int, factor: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    crop = ceil(length / factor)
    side = round(crop * factor)  # Python's rounding, half to even, as published
    kept = (side - length) // 2 + np.arange(length)
    position = kept * ((crop - 1) / (side - 1))
    below = np.floor(position).astype(np.int64)
    near = 1 - (position - below)
    # The last place may lie a rounding error beyond the last pixel, which is then read twice.
    places = np.stack([below, np.minimum(below + 1, crop - 1)], axis=1) + (length - crop) // 2
    return places, np.stack([near, 1 - near], axis=1)


@compiled
def _add_zooms(x, channels, rows, row_weights, columns, column_weights, out):
    """Products in float64, in the order (value * row's weight) * column's weight, each zoom rounded, then added."""
    images, height, size = x.shape
    upper, lower = np.empty(size), np.empty(size)
    line = np.empty(size, x.dtype)
    for image in range(images):
        for zoom in range(rows.shape[0]):
            for row in range(height):
                above, below = x[image, rows[zoom, row, 0]], x[image, rows[zoom, row, 1]]
                for place in range(size):
                    upper[place] = above[place] * row_weights[zoom, row, 0]
                    lower[place] = below[place] * row_weights[zoom, row, 1]
                for column in range(columns.shape[1]):
                    left, right = columns[zoom, column, 0] * channels, columns[zoom, column, 1] * channels
                    near, far = column_weights[zoom, column, 0], column_weights[zoom, column, 1]
                    for channel in range(channels):
                        a, b = left + channel, right + channel
                        line[column * channels + channel] = (
                            upper[a] * near + upper[b] * far + lower[a] * near + lower[b] * far
                        )
                total = out[image, row]
                for place in range(size):
                    total[place] += line[place]
