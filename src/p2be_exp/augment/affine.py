"""Rotation, shear and translation as affine maps, one per image, resampled as Pillow does, to the bit.

A map is six numbers (a, b, c, d, e, f): the output at point (x, y) is the input at
(a x + b y + c, d x + e y + f), and the pixel in row i and column j has its centre at (j + 1/2, i + 1/2).
As in ``PIL.Image.Image.transform``, a point outside the image is black, one less than half a pixel from an
edge takes the edge's level, and the interpolated value is truncated to a level.
"""

import math

import torch
from torch import Tensor

from p2be_exp.system.device_constants import kept_on_device


def apply_affine(images: Tensor, maps: Tensor) -> Tensor:
    """Resample every image bilinearly through its own affine map.

    Args:
        images: uint8 ``(B, C, H, W)``, levels.
        maps: float64 ``(B, 6)``, output points to input points.

    Returns:
        uint8 ``(B, C, H, W)``.
    """
    # Truncation exposes the last bit of an interpolation that falls on a whole level, as is common with a shear
    # of 0.05. So everything is float64, in Pillow's order of operations, which differs from grid_sample's.
    height, width = images.shape[-2:]
    a, b, c, d, e, f = maps[:, :, None, None].unbind(1)
    x = torch.arange(width, dtype=torch.float64, device=images.device) + 0.5
    y = torch.arange(height, dtype=torch.float64, device=images.device)[:, None] + 0.5
    left, right, right_share, inside_x = _neighbours((a * x + b * y).add_(c), width)
    upper, lower, lower_share, inside_y = _neighbours((d * x + e * y).add_(f), height)
    upper, lower = upper.mul_(width), lower.mul_(width)
    levels = images.flatten(2).to(torch.float64)

    def row(start: Tensor) -> Tensor:
        return _interpolate(_take(levels, start + left), _take(levels, start + right), right_share)

    result = _interpolate(row(upper), row(lower), lower_share)
    # Through int32, since there is no instruction from float64 to uint8: a direct conversion takes twice as long.
    return result.to(torch.int32).to(torch.uint8).mul_((inside_x & inside_y)[:, None])


def _neighbours(position: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Along one axis: the two pixels around each position, the weight of the second, whether it is inside."""
    inside = (position >= 0) & (position < size)
    position = position.sub_(0.5)
    first = position.floor()
    share = position.sub_(first)
    first = first.to(torch.int64)
    second = (first + 1).clamp_(0, size - 1)
    return first.clamp_(0, size - 1), second, share, inside


def _take(levels: Tensor, index: Tensor) -> Tensor:
    """The levels ``(B, C, H, W)`` of the pixels at flat indices ``(B, H, W)`` into ``(B, C, H * W)``."""
    pixels = index.flatten(1)[:, None].expand(-1, levels.shape[1], -1)
    return levels.gather(2, pixels).unflatten(2, index.shape[1:])


def _interpolate(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """first + (second - first) * share, in the memory of ``second``; share ``(B, H, W)``."""
    return second.sub_(first).mul_(share[:, None]).add_(first)


def rotation(degrees: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps that rotate images about their centre, as ``PIL.Image.Image.rotate`` does.

    Args:
        degrees: integers of any shape; positive is counter-clockwise.
        size: (H, W) of the images.

    Returns:
        float64, of that shape and 6.
    """
    return _rotations(size, degrees.device)[degrees.long() % 360]


def shear_x(shear: Tensor) -> Tensor:
    """Maps that shift each row by ``shear`` times its distance from the top edge, positive to the left.

    Args:
        shear: ``(B,)``, pixels per pixel.

    Returns:
        float64 ``(B, 6)``.
    """
    return _identity_with(1, shear)


def shear_y(shear: Tensor) -> Tensor:
    """Maps that shift each column by ``shear`` times its distance from the left edge, positive upwards.

    Args:
        shear: ``(B,)``, pixels per pixel.

    Returns:
        float64 ``(B, 6)``.
    """
    return _identity_with(3, shear)


def translate_x(pixels: Tensor) -> Tensor:
    """Maps that shift images horizontally, positive to the left.

    Args:
        pixels: ``(B,)``.

    Returns:
        float64 ``(B, 6)``.
    """
    return _identity_with(2, pixels)


def translate_y(pixels: Tensor) -> Tensor:
    """Maps that shift images vertically, positive upwards.

    Args:
        pixels: ``(B,)``.

    Returns:
        float64 ``(B, 6)``.
    """
    return _identity_with(5, pixels)


def identity_map(like: Tensor) -> Tensor:
    """Maps that leave images unchanged: float64 ``(B, 6)`` for a ``like`` of shape ``(B,)``, on its device."""
    maps = torch.zeros(len(like), 6, dtype=torch.float64, device=like.device)
    maps[:, 0] = maps[:, 4] = 1
    return maps


def _identity_with(position: int, value: Tensor) -> Tensor:
    maps = identity_map(value)
    maps[:, position] = value
    return maps


@kept_on_device
def _rotations(size: tuple[int, int], device: torch.device) -> Tensor:
    """float64 ``(360, 6)``: the map of each whole degree, cosine and sine of 15 digits as Pillow has them."""
    angles = [-math.radians(degrees) for degrees in range(360)]
    height, width = size
    maps = []
    for angle in angles:
        cosine, sine = round(math.cos(angle), 15), round(math.sin(angle), 15)
        c = cosine * (-width / 2) + sine * (-height / 2) + width / 2
        f = -sine * (-width / 2) + cosine * (-height / 2) + height / 2
        maps.append((cosine, sine, c, -sine, cosine, f))
    return torch.tensor(maps, dtype=torch.float64, device=device)
