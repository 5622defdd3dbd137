"""The batches of one condition, whose images are read, decoded or made by threads while the batches are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from p2be_exp.data.batch import Part
from p2be_exp.data.parts import PartsLoader
from p2be_exp.system.parallel import in_order

ImagesOf = Callable[[Tensor], Part]
"""Places in the condition's list of images -> the images; safe in several threads."""


class ConditionLoader(PartsLoader):
    """Batches of the images of one condition, in the order of the test set, each image once over all ranks.

    Args:
        images_of: gives the images at some places.
        name: what a warning calls the images.
        labels: int64 ``(N,)``.
        indices: int64 ``(N,)``, the position of each image in the data set as published.
        batch_size: images in a global batch, over all ranks.
        device: where batches are wanted.
        workers: threads that prepare images.
        rank, world_size: this process among those that share each batch.
    """

    chunk = 250

    def __init__(
        self,
        images_of: ImagesOf,
        name: str,
        labels: Tensor,
        indices: Tensor,
        batch_size: int,
        *,
        device: torch.device,
        workers: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(
            name, labels, indices, batch_size, shuffle_seed=None, device=device, rank=rank, world_size=world_size
        )
        self.images_of, self.workers = images_of, workers

    def _parts(self, chunks: Iterable[Tensor]) -> Iterator[Part]:
        if self.device.type == "cuda":  # prepare the next batches while the device works
            yield from in_order(self.images_of, chunks, self.workers)
            return
        # On a CPU the model wants the same cores: images that keep all threads busy for a while, then the model.
        for group in _groups(chunks, self.chunk * self.workers):
            yield from list(in_order(self.images_of, group, self.workers))


def _groups(chunks: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    """The chunks in groups of at least ``size`` places."""
    group: list[Tensor] = []
    for chunk in chunks:
        group.append(chunk)
        if sum(map(len, group)) >= size:
            yield group
            group = []
    if group:
        yield group
