"""A batch, each rank's share of it, and the parts that it is put together from: one rule for every loader."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Batch(NamedTuple):
    """One rank's share of a global batch.

    Where a global batch has fewer images than there are ranks, a rank without an image gets one of another's
    with `count` 0 and `scale` 0, so that its forward pass and its collective calls still take place. An image
    that cannot be read is left out; a rank that has none left gets a black one, with `count` 0 and `scale` 0.

    `scale` is `count * world_size / global_count`: the mean over the ranks (which DDP takes of gradients) of
    `scale` times the mean loss of a rank's images is the mean loss of the global batch. Where images cannot be read
    it is the sum of the losses of the others over the number of images as planned: every image keeps its weight, and
    a batch with fewer of them takes a smaller step. A term that is no mean over images, such as the smoothness of the
    table, shrinks with it.
    """

    images: Tensor  # uint8 (b, 3, H, W), levels
    labels: Tensor  # int64 (b,)
    indices: Tensor  # int64 (b,): the position of each image in the data set as published
    count: int  # type: ignore[assignment]  # how many of the b images are this rank's own, b or 0: metrics count the first `count`
    global_count: int  # images of the global batch as planned, over all ranks
    scale: float  # factor of this rank's mean loss
    fault: str | None = None  # why these images cannot be used at all: what every rank has to end with


class Share(NamedTuple):
    """One rank's part of a global batch, before there are images."""

    positions: Tensor  # int64 (max(count, 1),), in the image set
    count: int  # type: ignore[assignment]  # not the method of a tuple
    global_count: int


def share_of(order: Tensor, batch_size: int, number: int, rank: int, world_size: int) -> Share:
    """A rank's contiguous share of a global batch.

    Args:
        order: int64 `(N,)`, the positions in the order in which they are served.
        batch_size: images in a global batch; the last one may have fewer.
        number: of the global batch, from 0.
        rank: this process among `world_size`.
        world_size: number of processes that share each batch.
    """
    whole = order[number * batch_size : (number + 1) * batch_size]
    start, stop = rank_share(len(whole), rank, world_size)
    return Share(whole[start : max(stop, start + 1)], stop - start, len(whole))


def rank_share(count: int, rank: int, world_size: int) -> tuple[int, int]:
    """Begin and end of a rank's contiguous share of `count` images. Shares differ by at most one image.

    The begin lies inside the batch even where the share is empty.
    """
    return count * rank // world_size, count * (rank + 1) // world_size


class Unreadable(NamedTuple):
    """An image file that gave no picture."""

    file: str
    reason: str


class Part(NamedTuple):
    """Images that were asked for together; those that cannot be read are left out."""

    images: NDArray[np.uint8]  # (k, 3, H, W), k at most n; the memory may have another order
    kept: NDArray[np.bool_]  # (n,): which of the n that were asked for are there
    unreadable: tuple[Unreadable, ...] = ()

    @classmethod
    def whole(cls, images: NDArray[np.uint8]) -> Part:
        """All that were asked for, `(n, 3, H, W)`."""
        return cls(images, np.ones(len(images), dtype=bool))
