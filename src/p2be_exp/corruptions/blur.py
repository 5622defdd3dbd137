"""Blur by a fixed filter, gaussian or disk, and the sum of shifted copies that the disk and motion blur are made of."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from p2be_exp.corruptions.draws import Draws
from p2be_exp.system.compiled import compiled

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]


def gaussian_blur(images: Images, constants: tuple[float], draws: Draws) -> Images:
    """A gaussian of ``sigma`` pixels, cut at 4 sigma, in every channel; pixels of the edge go on beyond it."""
    return to_levels(smoothed(images, *constants))


def defocus_blur(images: Images, constants: tuple[float, float], draws: Draws) -> Images:
    """Correlation with a disk of ``radius`` pixels whose rim is softened by a gaussian of ``alias_sigma`` pixels."""
    shifts, weights = _disk_taps(*constants)
    # A disk is the same for all images; the sum takes shifts per image.
    per_image = np.repeat(shifts[None], len(images), axis=0)
    return to_levels(sum_of_shifts(images, np.arange(256) / 255, per_image, weights, border="reflect"))


def smoothed(images: Images, sigma: float) -> Floats:
    """The images in [0, 1], each channel under a gaussian of ``sigma`` pixels, before it is brought to levels."""
    return ndimage.gaussian_filter(images / 255, (0, sigma, sigma, 0), mode="nearest", truncate=4.0)


def to_levels(x: NDArray[np.floating]) -> Images:
    """Levels of values in [0, 1]: clipped, times 255 and truncated, never rounded, as the published generators do."""
    return (np.clip(x, 0, 1) * 255).astype(np.uint8)


def disk_kernel(radius: float, alias_sigma: float) -> NDArray[np.float32]:
    """The softened disk: float32, ``(17, 17)`` for a radius up to 8, else ``(2 radius + 1, 2 radius + 1)``.

    A disk of pixels of equal weight and sum 1, then a gaussian of 3 x 3 taps (5 x 5 above radius 8). The gaussian finds
    mirrored weights beyond the kernel's edge, so that a disk that touches the edge (radius 8 and 10) sums to about
    1.01. The arithmetic is spelled out in float32, so that the weights are the same on every machine.

    Source: ``disk`` in the published ``make_cifar_c.py`` and ``make_imagenet_c.py``; there OpenCV's ``GaussianBlur``.
    """
    half, reach = (8, 1) if radius <= 8 else (int(radius), 2)
    grid = np.arange(-half, half + 1)
    kernel = (grid[:, None] ** 2 + grid**2 <= radius**2).astype(np.float32)
    kernel /= kernel.sum()
    taps = np.exp(-(np.arange(reach + 1) ** 2) / (2 * alias_sigma**2))
    taps = (taps / (taps[0] + 2 * taps[1:].sum())).astype(np.float32)
    for _ in range(2):  # along the rows, then, transposed, along the columns
        padded = np.pad(kernel, ((0, 0), (reach, reach)), mode="reflect")
        shifted = [padded[:, first : first + len(grid)] for first in range(2 * reach + 1)]
        kernel = shifted[reach] * taps[0]
        for k in range(1, reach + 1):
            kernel = kernel + (shifted[reach - k] + shifted[reach + k]) * taps[k]
        kernel = kernel.T
    return kernel


@lru_cache
def _disk_taps(radius: float, alias_sigma: float) -> tuple[NDArray[np.int64], Floats]:
    """The kernel's weights that are not 0, row by row, and their ``(K, 2)`` shifts (down, right).

    Most of CIFAR's 17 x 17 is zero: to leave it out changes no bit of the sum, and small images need little padding.
    """
    kernel = disk_kernel(radius, alias_sigma)
    places = np.argwhere(kernel)
    return places - len(kernel) // 2, kernel[tuple(places.T)].astype(np.float64)


def sum_of_shifts(
    images: Images, values: Floats, shifts: NDArray[np.int64], weights: Floats, border: str = "edge"
) -> Floats:
    """At every pixel, the sum over k of ``weights[k]`` times the value at the pixel plus ``shifts[image, k]``.

    Args:
        images: uint8 ``(B, H, W, C)``.
        values: ``(256,)``, what the levels stand for.
        shifts: ``(B, K, 2)``, (down, right) in pixels.
        weights: ``(K,)``; added up in this order.
        border: what lies beyond the edge, by its name in ``numpy.pad``: ``edge`` a a | a b c, ``reflect`` c b | a b c.

    Returns:
        float64 ``(B, H, W, C)``.
    """
    batch, height, width, channels = images.shape
    margin = int(np.abs(shifts).max())
    mode = cast("Any", border)
    rows = np.pad(np.arange(height), margin, mode=mode)
    columns = np.pad(np.arange(width), margin, mode=mode)
    out = np.zeros((batch, height, width * channels))
    _add_shifts(images, values, rows, columns, shifts + margin, weights, out)
    return out.reshape(images.shape)


@compiled
def _add_shifts(images, values, rows, columns, shifts, weights, out):
    """One padded image at a time; lines of (column, channel), so that the innermost loop is contiguous."""
    channels, size = images.shape[3], out.shape[2]
    padded = np.empty((len(rows), len(columns) * channels))
    for image in range(len(images)):
        for row in range(len(rows)):
            for column in range(len(columns)):
                for channel in range(channels):
                    level = images[image, rows[row], columns[column], channel]
                    padded[row, column * channels + channel] = values[level]
        for row in range(out.shape[1]):
            line = out[image, row]
            for k in range(len(weights)):
                weight, first = weights[k], shifts[image, k, 1] * channels
                source = padded[row + shifts[image, k, 0], first : first + size]
                for place in range(size):
                    line[place] += weight * source[place]
