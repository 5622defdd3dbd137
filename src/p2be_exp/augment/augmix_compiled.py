"""The AugMix operations and mixtures compiled for the CPU: one image, one chain and one operation at a time.

The levels of an image of 32x32 stay in the nearest cache from its first operation to its mixture. Arithmetic is that of
:mod:`~p2be_exp.augment.tables`, :mod:`~p2be_exp.augment.affine` and
:class:`~p2be_exp.augment.view_rounding.Rounding`, in the same order, so that levels are equal to the bit.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from p2be_exp.augment.view_rounding import GUARD, MAX_LEVEL, OFFSET, Rounding
from p2be_exp.system.compiled import compiled

# Values of Operation: the look-ups; what is above is affine, what is below no operation.
_AUTOCONTRAST, _EQUALIZE, _POSTERIZE, _SOLARIZE = 0, 1, 2, 3


def apply_compiled(images: Tensor, operation: Tensor, argument: Tensor, maps: Tensor) -> Tensor:
    """Apply its own operation to each image.

    Args:
        images: uint8 ``(N, C, H, W)`` on the CPU, levels.
        operation: int64 ``(N,)``, ``Operation`` values or ``NO_OPERATION``.
        argument: float64 ``(N,)``.
        maps: float64 ``(N, 6)``, from ``affine_maps``.

    Returns:
        uint8 ``(N, C, H, W)``, a new tensor.
    """
    out = torch.empty(images.shape, dtype=torch.uint8)
    _apply(*(each.contiguous().numpy() for each in (images, operation, argument, maps)), out.numpy())
    return out


def views_compiled(
    images: Tensor, operation: Tensor, argument: Tensor, maps: Tensor, weights: Tensor, rounding: Rounding
) -> Tensor:
    """Views of images: D operations in each of W chains, and the chains' mixture.

    Args:
        images: uint8 ``(B, C, H, W)`` on the CPU, levels.
        operation: int64 ``(D, V, B, W)``, ``Operation`` values or ``NO_OPERATION``.
        argument: float64 ``(D, V, B, W)``.
        maps: float64 ``(D, V, B, W, 6)``, from ``affine_maps``.
        weights: float32 ``(V, B, 1 + W)``, the image's first.
        rounding: of the mixtures.

    Returns:
        uint8 ``(V * B, C, H, W)``.
    """
    out = torch.empty(weights.shape[0] * weights.shape[1], *images.shape[1:], dtype=torch.uint8)
    arrays = (each.contiguous().numpy() for each in (images, operation, argument, maps, weights))
    buckets = rounding.buckets or 0
    factors = (OFFSET[rounding.to], buckets / MAX_LEVEL, MAX_LEVEL / max(buckets, 1), GUARD)
    _views(*arrays, buckets > 0, *map(np.float32, factors), out.numpy())
    return out


@compiled
def _apply(images, operation, argument, maps, out):
    table = np.empty(256, np.uint8)
    for n in range(images.shape[0]):
        if operation[n] < 0:
            out[n] = images[n]
        else:
            _operate(images[n], operation[n], argument[n], maps[n], table, out[n])


@compiled
def _views(
    images, operation, argument, maps, weights, in_buckets, offset, buckets_a_level, levels_a_bucket, guard, out
):
    steps, views, batch, width = operation.shape
    table = np.empty(256, np.uint8)
    made = np.empty((2, *images.shape[1:]), np.uint8)
    mixture = np.empty(made[0].size, np.float32)
    for view in range(views):
        for index in range(batch):
            image = images[index]
            weight = weights[view, index]
            _weigh(image.reshape(-1), weight[0], mixture, True)
            for chain in range(width):
                levels, free = image, 0
                for step in range(steps):
                    at = (step, view, index, chain)
                    if operation[at] >= 0:
                        _operate(levels, operation[at], argument[at], maps[at], table, made[free])
                        levels, free = made[free], 1 - free
                _weigh(levels.reshape(-1), weight[1 + chain], mixture, False)
            result = out[view * batch + index].reshape(-1)
            for i in range(result.size):
                level = np.int32(mixture[i] + offset)
                if in_buckets:
                    bucket = np.floor(mixture[i] * buckets_a_level)
                    level = max(level, np.int32(np.ceil(bucket * levels_a_bucket - guard)))
                result[i] = level


@compiled
def _weigh(levels, weight, mixture, first):
    """Begin a mixture, or add to it.

    In float64, in which product and sum are exact, and rounded once: a fused multiplication and addition.
    """
    factor = np.float64(weight)
    for i in range(levels.size):
        before = 0.0 if first else np.float64(mixture[i])
        mixture[i] = np.float32(before + np.float64(levels[i]) * factor)


@compiled
def _operate(image, operation, argument, numbers, table, out):
    """One operation of one image ``(C, H, W)``; ``table`` is memory for 256 levels."""
    if operation > _SOLARIZE:
        _resample(image, numbers, out)
        return
    for channel in range(image.shape[0]):
        if operation == _AUTOCONTRAST:
            _autocontrast(image[channel].reshape(-1), table)
        elif operation == _EQUALIZE:
            _equalize(image[channel].reshape(-1), table)
        elif channel == 0:
            _pointwise(operation == _POSTERIZE, argument, table)
        levels, result = image[channel].reshape(-1), out[channel].reshape(-1)
        for i in range(levels.size):
            result[i] = table[levels[i]]


@compiled
def _pointwise(posterize, argument, table):
    """Posterize, or solarize: a table that does not depend on the image."""
    for level in range(256):
        if posterize:
            bits = 8 - np.int64(argument)
            table[level] = level >> bits << bits
        else:
            table[level] = level if level < argument else 255 - level


@compiled
def _autocontrast(levels, table):
    low, high = levels[0], levels[0]
    for level in levels:
        low, high = min(low, level), max(high, level)
    scale = 255.0 / max(np.float64(high) - np.float64(low), 1.0)
    shift = -np.float64(low) * scale
    for level in range(256):
        table[level] = np.int64(min(max(level * scale + shift, 0.0), 255.0)) if high > low else level


@compiled
def _equalize(levels, table):
    histogram = np.zeros(256, np.int64)
    for level in levels:
        histogram[level] += 1
    brightest = 0
    for level in range(256):
        if histogram[level]:
            brightest = histogram[level]
    step = (levels.size - brightest) // 255
    below = 0
    for level in range(256):
        table[level] = min((below + step // 2) // step, 255) if step > 0 else level
        below += histogram[level]


@compiled
def _resample(image, numbers, out):
    """Bilinear through an affine map; without a fraction of a pixel along an axis nothing is interpolated there."""
    channels, height, width = image.shape
    a, b, c, d, e, f = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
    for row in range(height):
        y = row + 0.5
        for column in range(width):
            x = column + 0.5
            input_x, input_y = a * x + b * y + c, d * x + e * y + f
            if not (0 <= input_x < width and 0 <= input_y < height):
                for channel in range(channels):
                    out[channel, row, column] = 0
                continue
            left, upper = math.floor(input_x - 0.5), math.floor(input_y - 0.5)
            right_share, lower_share = input_x - 0.5 - left, input_y - 0.5 - upper
            right, lower = min(left + 1, width - 1), min(upper + 1, height - 1)
            left, upper = max(left, 0), max(upper, 0)
            for channel in range(channels):
                level = np.float64(image[channel, upper, left])
                if right_share != 0:
                    level += (image[channel, upper, right] - level) * right_share
                if lower_share != 0:
                    under = np.float64(image[channel, lower, left])
                    if right_share != 0:
                        under += (image[channel, lower, right] - under) * right_share
                    level += (under - level) * lower_share
                out[channel, row, column] = np.int64(level)
