"""SVHN, house numbers from the street, cropped to one digit each: 73,257 training and 26,032 test images of 32 x 32.

Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", NIPS workshop 2011. The
531,131 easier images of the published `extra` part are not used. Names, addresses and checksums are torchvision's.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from p2be_exp.data.fetching import PublishedFile, fetch_files, read_checked, torchvision_dataset
from p2be_exp.data.source import LevelSource, Size
from p2be_exp.errors import BadInput

if TYPE_CHECKING:
    from p2be_exp.data.images import ImageSet


class Svhn(LevelSource):
    name = "svhn"
    published = Size(73_257, 26_032, classes=10, side=32)
    paths = ("svhn",)

    def fetch(self, download: bool) -> None:
        """Make sure that the two files are there.

        Raises:
            BadInput: they are missing and cannot be had.
        """
        fetch_files(self.name, self._folder(), self._files(), download)

    def load(self) -> tuple[ImageSet, ImageSet]:
        """Training and test images, uint8 `(N, 3, 32, 32)`, in the published order; label k is the digit k.

        Raises:
            BadInput: a file is missing, is not the published one, or holds something else than images.
        """
        self.fetch(download=False)
        train, test = (
            _images(self._folder() / file.name, file.md5, f"svhn/{part}")
            for file, part in zip(self._files(), ("train", "test"), strict=True)
        )
        return train, test

    def _folder(self) -> Path:
        return self.data_dir / "svhn"

    def _files(self) -> list[PublishedFile]:
        described = torchvision_dataset(self.name, "SVHN").split_list
        return [PublishedFile(name, (url,), md5) for url, name, md5 in (described["train"], described["test"])]


def _images(path: Path, md5: str, name: str) -> ImageSet:
    import torch

    # Imported here because it takes a while that the other data sets need not pay.
    from scipy.io import loadmat

    from p2be_exp.data.images import ImageSet

    entry, side = loadmat(io.BytesIO(read_checked(path, md5))), Svhn.published.side
    pixels, labels = entry["X"], entry["y"].reshape(-1)
    if pixels.shape[:3] != (side, side, 3):
        raise BadInput(f"{path}: images of shape {pixels.shape}, expected ({side}, {side}, 3, N)")
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)))
    digits = torch.from_numpy(labels.astype(np.int64))
    digits[digits == 10] = 0  # as published, 10 stands for the digit 0
    return ImageSet(images, digits, tuple("0123456789"), name)
