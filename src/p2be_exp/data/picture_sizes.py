"""The size of a test picture before its centre crop. Nothing here imports torch: configurations use it too."""

from __future__ import annotations

SCALED_FROM = 64
"""Smallest image side, in pixels, for which the picture is scaled to more than the crop."""


def resized_for(image_size: int) -> int:
    """The shorter side to which a test picture is scaled before its centre crop.

    From 64 pixels on it is proportional to ImageNet's (256 for 224). Below, the crop takes the whole shorter side, so
    that pictures of that size, such as CIFAR's, are not changed.

    Args:
        image_size: height and width of the image in pixels.

    Returns:
        A length in pixels, at least ``image_size``.

    >>> resized_for(224), resized_for(64), resized_for(63)
    (256, 73, 63)
    """
    return image_size if image_size < SCALED_FROM else round(256 / 224 * image_size)
