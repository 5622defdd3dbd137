"""The batches of one condition, whose images are read, decoded or made while the batches are asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from p2be_exp.corruptions.parallel import in_order
from p2be_exp.data import Batch
from p2be_exp.data.loader import rank_share

ImagesOf = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Places in the condition's list of images -> uint8 ``(b, H, W, 3)``; safe in several threads."""

CHUNK = 250
"""Images that one thread prepares at a time."""


class ConditionLoader:
    """Batches of the images of one condition, in the order of the test set, each image once over all ranks.

    Global batches and ranks' shares are those of :class:`~p2be_exp.data.ResidentLoader`.

    Args:
        images_of: gives the images at some places.
        labels: ``(N,)``.
        indices: ``(N,)``, the position of each image in the data set as published.
        batch_size: images in a global batch, over all ranks.
        device: where batches are wanted.
        workers: threads that prepare images.
        rank, world_size: this process among those that share each batch.
    """

    def __init__(
        self,
        images_of: ImagesOf,
        labels: NDArray[np.integer],
        indices: NDArray[np.int64],
        batch_size: int,
        *,
        device: torch.device,
        workers: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images_of = images_of
        self.labels, self.indices = torch.as_tensor(labels).long(), torch.as_tensor(indices).long()
        self.batch_size, self.device, self.workers = batch_size, device, workers
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        """Number of global batches."""
        return math.ceil(len(self.labels) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        numbers = range(len(self))
        if self.device.type == "cuda":  # prepare the next batches while the device works
            yield from self._batches(numbers)
            return
        # On a CPU the model wants the same cores: a group of batches that keeps all threads busy, then the model.
        group = math.ceil(CHUNK * self.workers / self.batch_size)
        for first in range(0, len(self), group):
            yield from list(self._batches(numbers[first : first + group]))

    def _batches(self, numbers: range) -> Iterator[Batch]:
        shares = [self._share(number) for number in numbers]
        chunks = (places for share in shares for places in _chunks(share[0]))
        images = in_order(self.images_of, chunks, self.workers)
        for places, count, global_count in shares:
            parts = list(islice(images, len(_chunks(places))))
            yield self._batch(parts, places, count, global_count)

    def _share(self, number: int) -> tuple[NDArray[np.int64], int, int]:
        """This rank's places in a global batch (at least one), how many it counts, and the batch's size."""
        first = number * self.batch_size
        global_count = min(self.batch_size, len(self.labels) - first)
        start, stop = rank_share(global_count, self.rank, self.world_size)
        return np.arange(first + start, first + max(stop, start + 1)), stop - start, global_count

    def _batch(self, parts: list[NDArray[np.uint8]], places: NDArray[np.int64], count: int, global_count: int) -> Batch:
        images = torch.empty(
            (len(places), 3, *parts[0].shape[1:3]), dtype=torch.uint8, pin_memory=self.device.type == "cuda"
        )
        np.concatenate(parts, out=images.numpy().transpose(0, 2, 3, 1))
        return Batch(
            images.to(self.device, non_blocking=True),
            self.labels[places].to(self.device),
            self.indices[places].to(self.device),
            count=count,
            global_count=global_count,
            scale=count * self.world_size / global_count,
        )


def _chunks(places: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return np.array_split(places, math.ceil(len(places) / CHUNK))
