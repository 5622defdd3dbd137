"""Uniform noise of whole levels."""

from __future__ import annotations

import torch
from torch import Tensor

from p2be_exp.randomness.draws import Purpose
from p2be_exp.randomness.uniform import uniform_of_images


def level_noise(images: Tensor, radius: int, indices: Tensor, seed: int, epoch: int | Tensor) -> Tensor:
    """Each value moved by -radius to radius levels, all equally likely, and cut to 0 and 255.

    Args:
        images: uint8 ``(B, 3, H, W)``.
        radius: in levels, 0 to 255.
        indices: ``(B,)``, positions of the images in the training set.
        seed, epoch: decide, with the position, about an image's noise.

    Returns:
        uint8 like ``images``, a new tensor.
    """
    if radius == 0:
        return images.clone()
    draws = uniform_of_images(indices, seed, epoch, Purpose.NOISE, images[0].numel()).view(images.shape)
    moved = (draws * (2 * radius + 1)).floor().short() - radius
    return (images.short() + moved).clamp_(0, 255).to(torch.uint8)
