"""The ball: the images whose every value is at most ``eps_levels`` levels away, within 0 to 255."""

from __future__ import annotations

import torch
from torch import Tensor


def bounds(images: Tensor, eps_levels: int | Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest allowed level of every value, uint8 like ``images``.

    Args:
        images: uint8.
        eps_levels: radius in levels; an int16 tensor that broadcasts with the images for a radius of each.

    >>> low, high = bounds(torch.tensor([[3, 250]], dtype=torch.uint8), 8)
    >>> low.tolist(), high.tolist()
    ([[0, 242]], [[11, 255]])
    """
    levels = images.short()
    low, high = (levels - eps_levels).clamp(min=0), (levels + eps_levels).clamp(max=255)
    return low.to(torch.uint8), high.to(torch.uint8)


def is_inside(candidates: Tensor, images: Tensor, eps_levels: int) -> Tensor:
    """Whether each candidate is uint8 levels inside the ball around its image: bool ``(B,)``."""
    if candidates.dtype != torch.uint8 or candidates.shape != images.shape:
        return torch.zeros(len(images), dtype=torch.bool, device=images.device)
    return (candidates.short() - images.short()).abs().flatten(1).amax(1) <= eps_levels
