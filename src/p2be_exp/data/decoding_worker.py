"""What a worker process does: it decodes some files, and puts the images into shared memory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from p2be_exp.data.batch import Unreadable
from p2be_exp.data.decoding import TestView, WholeView
from p2be_exp.data.files import Names, decode

SHARED_MEMORY = Path("/dev/shm")
"""Where the workers leave what they decoded, on Linux."""


class Request(NamedTuple):
    """Files to decode."""

    names: Names
    draws: NDArray[np.float64] | None  # see p2be_exp.data.files.decode


class Decoded(NamedTuple):
    """What came of them."""

    images: Tensor  # uint8 (k, 3, S, S); a tensor, to travel in shared memory
    kept: NDArray[np.bool_]
    unreadable: tuple[Unreadable, ...]
    failure: str | None = None  # why the images could not be put there


class Decoder(Dataset):
    """Decodes files of a folder: it gets names and draws, so that it holds no list of files."""

    def __init__(self, folder: Path, view: TestView | WholeView) -> None:
        self.folder, self.view = folder, view

    def __getitem__(self, request: Request) -> Decoded:
        part = decode(self.folder, request.names, self.view, request.draws)
        images = torch.from_numpy(part.images)
        if get_worker_info() is None:
            return Decoded(images, part.kept, part.unreadable)
        # Here, not in the thread that PyTorch has for it: an error there loses the images, and all wait for ever.
        try:
            return Decoded(images.share_memory_(), part.kept, part.unreadable)
        except (RuntimeError, OSError) as error:
            nothing = torch.empty(0, dtype=torch.uint8)  # not a part of them: that would share them all
            return Decoded(nothing, part.kept, part.unreadable, failure=" ".join(str(error).split()))


def shared_memory() -> str:
    """How much shared memory there is, in words."""
    if not SHARED_MEMORY.is_dir():
        return "shared memory is full or too small"
    space = shutil.disk_usage(SHARED_MEMORY)
    return (
        f"{SHARED_MEMORY} has {space.free / 2**20:,.0f} MiB left of {space.total / 2**20:,.0f} MiB "
        "(a container's is often 64 MiB: docker run --shm-size=2g)"
    )
