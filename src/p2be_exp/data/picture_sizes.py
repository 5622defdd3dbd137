"""How large a test picture is before its middle is cut out. Nothing here imports torch: a configuration asks, too."""

from __future__ import annotations

SCALED_FROM = 64
"""Smallest image, in pixels a side, whose picture is made larger than what is cut out of it."""


def resized_for(image_size: int) -> int:
    """The shorter side to scale a test picture to, for an image that is cut out of its middle.

    From 64 pixels on as for ImageNet (256 for 224, in proportion). Smaller images are the whole shorter side: pictures
    of their size, as those of CIFAR are, stay as they are.

    Args:
        image_size: height and width of the image in pixels.

    Returns:
        A length in pixels, at least ``image_size``.

    >>> resized_for(224), resized_for(64), resized_for(63)
    (256, 73, 63)
    """
    return image_size if image_size < SCALED_FROM else round(256 / 224 * image_size)
