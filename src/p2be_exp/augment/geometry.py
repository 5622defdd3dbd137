"""The geometric augmentations by name, as far as they are made on the device from a batch of images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from p2be_exp.augment.flip_crop import flip_crop, random_flip_crop
from p2be_exp.randomness.draws import ImageRandom

Augmentation = Callable[[Tensor, ImageRandom], Tensor]
"""Images uint8 ``(B, 3, H, W)`` and the random numbers of these B images -> images of the same shape."""


def random_crop(images: Tensor, random: ImageRandom, padding: int = 4) -> Tensor:
    """:func:`random_flip_crop` without the flip, at the same places: for pictures that have a left and a right."""
    _, top, left = random.uniform(3).unbind(1)
    places = 2 * padding + 1
    never = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    return flip_crop(images, never, (top * places).long(), (left * places).long(), padding)


def unchanged(images: Tensor, random: ImageRandom) -> Tensor:
    """The images as they are."""
    return images


_AUGMENTATIONS: dict[str, Augmentation] = {
    "flip_crop": random_flip_crop,
    "crop": random_crop,
    "resized_crop": unchanged,  # made while the pictures are decoded
    "none": unchanged,
}


def augmentation_of(name: str) -> Augmentation:
    """What a data set's ``augmentation`` does to a batch.

    Args:
        name: ``flip_crop``, ``crop``, ``resized_crop`` or ``none``.
    """
    return _AUGMENTATIONS[name]
