"""The geometric augmentations by name, those applied to a batch of images on the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from p2be_exp.augment.flip_crop import flip_crop, random_flip_crop
from p2be_exp.randomness.draws import ImageRandom

Augmentation = Callable[[Tensor, ImageRandom], Tensor]
"""Images uint8 ``(B, 3, H, W)`` and the random numbers of these B images -> images of the same shape."""


def random_crop(images: Tensor, random: ImageRandom, padding: int = 4) -> Tensor:
    """:func:`random_flip_crop` without the flip, at the same positions: for pictures whose orientation matters."""
    _, top, left = random.uniform(3).unbind(1)
    offsets = 2 * padding + 1
    no_flip = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    return flip_crop(images, no_flip, (top * offsets).long(), (left * offsets).long(), padding)


def unchanged(images: Tensor, random: ImageRandom) -> Tensor:
    """The images, unchanged."""
    return images


_AUGMENTATIONS: dict[str, Augmentation] = {
    "flip_crop": random_flip_crop,
    "crop": random_crop,
    "resized_crop": unchanged,  # applied while the pictures are decoded
    "none": unchanged,
}


def augmentation_of(name: str) -> Augmentation:
    """The augmentation of a batch that a data set's key ``augmentation`` names.

    Args:
        name: ``flip_crop``, ``crop``, ``resized_crop`` or ``none``.
    """
    return _AUGMENTATIONS[name]
