"""Batches put together from parts that threads or processes prepare; images that cannot be read are left out."""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from p2be_exp.data.batch import Batch, Part, Share, Unreadable
from p2be_exp.data.loader import EpochLoader
from p2be_exp.errors import BadInput

NAMED = 3
"""Files that cannot be read and are named in the warning."""


class PartsLoader(EpochLoader):
    """The batches of images that are read, decoded or made while the batches are asked for.

    Args:
        name: what a warning calls the images.
        labels, indices, batch_size, shuffle_seed, device, rank, world_size: see :class:`EpochLoader`.

    A pass over images that cannot be read ends with a line on stderr that names the first and counts them.

    Raises:
        BadInput: in a pass of one process over all images: none of them can be read.
    """

    chunk: int
    """Images that one thread or process prepares at a time."""

    def __init__(self, name: str, labels: Tensor, indices: Tensor, batch_size: int, **where: Any) -> None:
        super().__init__(labels, indices, batch_size, **where)
        self.name = name

    @abstractmethod
    def _parts(self, chunks: Iterable[Tensor]) -> Iterator[Part]:
        """The images at some positions, chunk by chunk, in the order of the chunks."""

    def _batches(self, shares: Sequence[Share]) -> Iterator[Batch]:
        unreadable: list[Unreadable] = []
        parts = self._parts(self._chunks(shares))
        for number, share in enumerate(shares, 1):
            mine = list(islice(parts, math.ceil(len(share.positions) / self.chunk)))
            if share.count:  # another rank counts an image that only fills this one's share up
                unreadable += [each for part in mine for each in part.unreadable]
            batch = self._joined(share, mine)
            if number == len(shares):  # not after the last yield: a consumer that counts asks for no more
                cast("Any", parts).close()
                self._report(unreadable, sum(each.count for each in shares))
            yield batch

    def _chunks(self, shares: Iterable[Share]) -> Iterator[Tensor]:
        """The positions of some batches, as they are prepared at a time."""
        return (chunk for share in shares for chunk in share.positions.split(self.chunk))

    def _joined(self, share: Share, parts: list[Part]) -> Batch:
        kept = torch.from_numpy(np.concatenate([part.kept for part in parts]))
        readable = int(kept.sum())
        positions = share.positions[kept] if readable else share.positions[:1]
        shape = (len(positions), *parts[0].images.shape[1:])
        images = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        if readable:
            np.concatenate([part.images for part in parts], out=images.numpy())
        else:
            images.zero_()
        return self._batch(
            share,
            images.to(self.device, non_blocking=True),
            self.labels[positions].to(self.device),
            self.indices[positions].to(self.device),
            count=readable if share.count else 0,
        )

    def _report(self, unreadable: list[Unreadable], images: int) -> None:
        whole = self.world_size == 1 and images == len(self.labels)
        tell_left_out(self.name, unreadable, images, whole, f" of rank {self.rank}" if self.world_size > 1 else "")


def tell_left_out(name: str, unreadable: Sequence[Unreadable], images: int, whole: bool = True, of: str = "") -> None:
    """Say on stderr which images cannot be read: the first by name, all by number; nothing where there are none.

    Args:
        name: what the images are called.
        unreadable: those that cannot be read.
        images: number of images that were asked for.
        whole: these are all images.
        of: what more is said of the images.

    Raises:
        BadInput: they are all images, and none can be read.
    """
    if not unreadable:
        return
    first = "; ".join(f"{each.file} ({each.reason})" for each in unreadable[:NAMED])
    more = f"; and {len(unreadable) - NAMED:,} more" if len(unreadable) > NAMED else ""
    if whole and len(unreadable) == images:
        raise BadInput(f"{name}: none of the {images:,} images can be read: {first}{more}")
    # One write, unlike print's two: several processes may write at a time.
    sys.stderr.write(
        f"warning: {name}: {len(unreadable):,} of {images:,} images{of} cannot be read and are left out: "
        f"{first}{more}\n"
    )
    sys.stderr.flush()
