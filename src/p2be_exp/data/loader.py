"""Batches epoch after epoch: order, ranks, resuming. And the loader of an image set that stays where it is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2be_exp.data.batch import Batch, Share, share_of
from p2be_exp.data.images import ImageSet
from p2be_exp.errors import BadInput
from p2be_exp.randomness.order import EPOCH, random_order


class EpochLoader(ABC):
    """The batches of one epoch after another, each image exactly once an epoch over all ranks.

    Every rank computes the same order, cuts it into global batches, and takes its contiguous share of each;
    shares differ by at most one image. The last batch may be smaller and is kept. What is in a global batch
    depends neither on the number of ranks nor on the device.

    Args:
        labels: int64 `(N,)`.
        indices: int64 `(N,)`, the position of each image in the data set as published.
        batch_size: images in a GLOBAL batch, over all ranks.
        shuffle_seed: every epoch in another order, a function of `(shuffle_seed, epoch)`; None: always in the
            order of the set, for evaluation.
        device: of the batches.
        rank: this process among `world_size`.
        world_size: number of processes that share each batch.

    Raises:
        BadInput: `batch_size` is below 1.
    """

    data: Any
    """The images: a set of them, or of picture files."""

    def __init__(
        self,
        labels: Tensor,
        indices: Tensor,
        batch_size: int,
        *,
        shuffle_seed: int | None,
        device: torch.device,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise BadInput(f"batch_size={batch_size}: must be 1 or more")
        self.labels = labels
        self.indices = indices
        self.batch_size = batch_size
        self.shuffle_seed = shuffle_seed
        self.device = device
        self.rank = rank
        self.world_size = world_size
        self._epoch = 0
        self._served = 0  # batches of this epoch that have been given out
        self._resume_at = 0  # batch that the next iteration starts with

    @abstractmethod
    def _batches(self, shares: Sequence[Share]) -> Iterator[Batch]:
        """The batches of these shares, on the device."""

    def __len__(self) -> int:
        """Number of batches in a whole epoch."""
        return math.ceil(len(self.labels) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing here runs before the first batch is asked for. Lightning calls iter() first and
        # set_epoch() later.
        first, self._resume_at = self._resume_at, 0
        for number, batch in enumerate(self._batches(self._shares(first)), first):
            self._served = number + 1  # before the yield: a checkpoint is saved while the batch is in use
            yield batch

    def _shares(self, first: int = 0) -> list[Share]:
        """This rank's shares of an epoch's batches, from a batch on."""
        order = self._order()
        return [
            share_of(order, self.batch_size, number, self.rank, self.world_size) for number in range(first, len(self))
        ]

    @property
    def sampler(self) -> EpochLoader:
        """Itself: Lightning calls `set_epoch` on a loader's sampler."""
        return self

    batch_sampler = None  # Lightning reads it wherever there is a sampler

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration follows; a new epoch starts at its first batch."""
        if epoch != self._epoch:
            self._epoch, self._served, self._resume_at = epoch, 0, 0

    def state_dict(self) -> dict[str, int | None]:
        """Which batch comes next (after an epoch's last the next epoch's first) and what it is a batch of."""
        over = self._served == len(self)
        return {
            "epoch": self._epoch + over,
            "next_batch": 0 if over else self._served,
            "num_images": len(self.labels),
            "batch_size": self.batch_size,
            "shuffle_seed": self.shuffle_seed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a loader over the same images stopped, with the same or another number of ranks.

        Raises:
            BadInput: the state is of other images, another batch size or another order.
        """
        for what in ("num_images", "batch_size", "shuffle_seed"):
            if state[what] != (mine := self.state_dict()[what]):
                raise BadInput(f"cannot continue an epoch with {what}={mine}: must be {state[what]}, as it was saved")
        self._epoch, self._served = state["epoch"], state["next_batch"]
        self._resume_at = state["next_batch"]

    def _order(self) -> Tensor:
        n = len(self.labels)
        if self.shuffle_seed is None:
            return torch.arange(n)
        return random_order(n, self.shuffle_seed, EPOCH, self._epoch)

    def _batch(self, share: Share, images: Tensor, labels: Tensor, indices: Tensor, count: int) -> Batch:
        """A batch of a share of which `count` images are there."""
        scale = count * self.world_size / share.global_count
        return Batch(images, labels, indices, count=count, global_count=share.global_count, scale=scale)


class ResidentLoader(EpochLoader):
    """Batches drawn by index from an image set that stays where it is: no workers, no copies of single images.

    Args:
        data: the images, on `device` (fastest) or on the host.
        batch_size, shuffle_seed, rank, world_size: see :class:`EpochLoader`.
        device: of the batches; default: that of `data`.
    """

    def __init__(
        self,
        data: ImageSet,
        batch_size: int,
        *,
        shuffle_seed: int | None,
        device: torch.device | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        device = data.device if device is None else device
        super().__init__(
            data.labels,
            data.indices,
            batch_size,
            shuffle_seed=shuffle_seed,
            device=device,
            rank=rank,
            world_size=world_size,
        )
        self.data = data

    def _order(self) -> Tensor:
        return super()._order().to(self.data.device)

    def _batches(self, shares: Sequence[Share]) -> Iterator[Batch]:
        for share in shares:
            images, labels, indices = (
                self._take(each, share.positions) for each in (self.data.images, self.labels, self.indices)
            )
            yield self._batch(share, images, labels, indices, count=share.count)

    def _take(self, values: Tensor, positions: Tensor) -> Tensor:
        """values[positions] on this loader's device; a copy, so that no batch shares the set's memory."""
        if values.device.type == "cpu":
            taken = _gather_on_host(values, positions, pin=self.device.type == "cuda")
        else:
            taken = values.index_select(0, positions)
        return taken.to(self.device, non_blocking=True)


def _gather_on_host(values: Tensor, positions: Tensor, pin: bool) -> Tensor:
    """values[positions], with `pin` in pinned memory, from which a copy to a GPU runs beside its computation.

    By NumPy: one thread that copies whole images is as fast as the memory. PyTorch's gather shares a batch
    among threads and waits for the last, which on a busy machine took 100 times as long.
    """
    taken = torch.empty((len(positions), *values.shape[1:]), dtype=values.dtype, pin_memory=pin)
    # mode="clip" only spares NumPy a buffer: no position is outside.
    np.take(values.numpy(), positions.numpy(), axis=0, out=taken.numpy(), mode="clip")
    return taken
