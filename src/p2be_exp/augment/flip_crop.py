"""Random horizontal flip, then random crop with zero padding: the base augmentation, drawn per image.

Source: the reference recipe's RandomHorizontalFlip(0.5) and RandomCrop(32, padding=4), in this order.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from p2be_exp.randomness.draws import ImageRandom
from p2be_exp.system.device_kernels import device_operator, kernels_serve


def random_flip_crop(images: Tensor, random: ImageRandom, padding: int = 4) -> Tensor:
    """Flip each image with probability 1/2 and crop it at one of (2 padding + 1)**2 equally likely positions.

    Args:
        images: uint8 ``(B, 3, H, W)``, levels.
        random: the random numbers of these B images.
        padding: pixels of level 0 added on each side before the crop.

    Returns:
        uint8 ``(B, 3, H, W)``.
    """
    flip, top, left = random.uniform(3).unbind(1)
    offsets = 2 * padding + 1
    return flip_crop(images, flip < 0.5, (top * offsets).long(), (left * offsets).long(), padding)


def flip_crop(images: Tensor, flip: Tensor, top: Tensor, left: Tensor, padding: int = 4) -> Tensor:
    """Flip the images selected by ``flip``, then crop each padded image at its own position.

    Args:
        images: uint8 ``(B, 3, H, W)``, levels.
        flip: bool ``(B,)``.
        top: int64 ``(B,)``, the first row of the crop in the padded image, 0..2 padding.
        left: int64 ``(B,)``, its first column, 0..2 padding.
        padding: pixels of level 0 added on each side.

    Returns:
        uint8 ``(B, 3, H, W)``; ``top = left = padding`` leaves an image in place.
    """
    crop = _by_kernel if kernels_serve(images.device) else _plain
    return crop(images, flip, top, left, padding)


def _plain(images: Tensor, flip: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    height, width = images.shape[-2:]
    flipped = torch.where(flip[:, None, None, None], images.flip(-1), images)
    padded = pad(flipped, (padding,) * 4)
    crops = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (B, 3, offsets, offsets, H, W)
    return crops[torch.arange(len(images), device=images.device), :, top, left]


def _empty(images: Tensor, flip: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    return images.new_empty(images.shape)


_by_kernel = device_operator(
    "flip_crop(Tensor images, Tensor flip, Tensor top, Tensor left, int padding) -> Tensor",
    "p2be_exp.augment.flip_crop_kernel:flip_crop",
    _plain,
    _empty,
)
