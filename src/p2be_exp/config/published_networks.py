"""The networks of the literature whose published weights can be read, known before a network is imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedNetwork:
    """What is known of a network by its name.

    Attributes:
        what: architecture and authors.
        classes: numbers of classes with which it was published: 10 is CIFAR-10, 100 is CIFAR-100.
        parameters: with the first of them.
    """

    what: str
    classes: tuple[int, ...]
    parameters: int


PUBLISHED_NETWORKS = {
    "bit_resnet152x2": PublishedNetwork(
        "BiT ResNet-152x2 (Kolesnikov et al. 2020); resizes images to 128 x 128", (10, 100), 232_279_178
    ),
    "ra_wrn70_16": PublishedNetwork(
        "Ra-WRN-70-16 (Peng et al. 2023) with SiLU and squeeze-and-excitation", (10,), 267_240_802
    ),
    "wrn34_10": PublishedNetwork(
        "WRN-34-10 as TRADES has it (Zhang et al. 2019); does not normalise", (10,), 46_160_474
    ),
    "wrn70_16_silu": PublishedNetwork(
        "WRN-70-16 (Gowal et al. 2020) with SiLU, also called Swish", (10, 100), 266_796_506
    ),
}
"""By the name that ``model.network`` has."""
