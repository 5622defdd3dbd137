"""Autocontrast, equalize, posterize and solarize as look-up tables of 256 entries, one per image and channel.

Each table equals what ``PIL.ImageOps`` does with its default arguments, to the bit.
"""

import torch
from torch import Tensor


def apply_table(images: Tensor, table: Tensor) -> Tensor:
    """Replace every level by its entry in the table of its image and channel.

    Args:
        images: uint8 ``(B, C, H, W)``, levels.
        table: uint8 ``(B, C, 256)``, or ``(B, 1, 256)`` for one that all channels share.

    Returns:
        uint8 ``(B, C, H, W)``.
    """
    return table.expand(-1, images.shape[1], -1).gather(2, images.flatten(2).long()).view_as(images)


def autocontrast_table(images: Tensor) -> Tensor:
    """Stretch the levels of each channel linearly so that its darkest becomes 0 and its brightest 255.

    Args:
        images: uint8 ``(B, C, H, W)``, levels.

    Returns:
        uint8 ``(B, C, 256)``; the identity for a channel of a single level.
    """
    low = images.amin((2, 3)).to(torch.float64)[..., None]
    high = images.amax((2, 3)).to(torch.float64)[..., None]
    # float64 in Pillow's order of operations, since truncation exposes the last bit. The 255 is a tensor because
    # a Python number divided by a tensor is computed as the number times a rounded reciprocal.
    scale = torch.full_like(low, 255) / (high - low).clamp(min=1)
    levels = _levels(images)
    stretched = (levels * scale + -low * scale).clamp(0, 255).to(torch.uint8)
    return torch.where(high > low, stretched, levels)


def equalize_table(images: Tensor) -> Tensor:
    """Spread the levels of each channel so that its histogram becomes as flat as possible.

    Args:
        images: uint8 ``(B, C, H, W)``, levels.

    Returns:
        uint8 ``(B, C, 256)``; the identity for a channel of one level, and for one with fewer than 255 pixels
        below its brightest level.
    """
    batch, channels, height, width = images.shape
    pixels = images.flatten(2).long()
    one = torch.ones((), dtype=torch.int64, device=images.device).expand_as(pixels)
    histogram = torch.zeros(batch, channels, 256, dtype=torch.int64, device=images.device)
    histogram.scatter_add_(2, pixels, one)
    brightest = histogram.gather(2, pixels.amax(2, keepdim=True))
    step = (height * width - brightest) // 255
    below = histogram.cumsum(2) - histogram
    spread = ((below + step // 2) // step.clamp(min=1)).clamp(max=255).to(torch.uint8)
    return torch.where(step > 0, spread, _levels(images))


def posterize_table(bits: Tensor) -> Tensor:
    """Keep the upper bits of every level.

    Args:
        bits: ``(B,)``, integers 0..8.

    Returns:
        uint8 ``(B, 1, 256)``, the same for every channel.
    """
    levels = torch.arange(256, device=bits.device)
    step = 2 ** (8 - bits.long())[:, None, None]
    return (levels // step * step).to(torch.uint8)


def solarize_table(threshold: Tensor) -> Tensor:
    """Invert every level at or above the threshold.

    Args:
        threshold: ``(B,)``, 0..256.

    Returns:
        uint8 ``(B, 1, 256)``, the same for every channel.
    """
    levels = torch.arange(256, device=threshold.device)
    return torch.where(levels < threshold[:, None, None], levels, 255 - levels).to(torch.uint8)


def _levels(images: Tensor) -> Tensor:
    return torch.arange(256, dtype=torch.uint8, device=images.device)
