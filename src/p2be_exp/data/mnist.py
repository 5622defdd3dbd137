"""MNIST, handwritten digits: 60,000 training and 10,000 test images, 28 x 28 with two black pixels added all round.

Y. LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998. Names, addresses and checksums of the
published files are torchvision's.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from p2be_exp.data.fetching import PublishedFile, fetch_files, read_checked, torchvision_dataset
from p2be_exp.data.source import LevelSource, Size
from p2be_exp.errors import BadInput

if TYPE_CHECKING:
    from p2be_exp.data.images import ImageSet

PUBLISHED_SIDE = 28
"""Height and width of the published images, in pixels."""


class Mnist(LevelSource):
    name = "mnist"
    published = Size(60_000, 10_000, classes=10, side=32)
    paths = ("MNIST/raw",)

    def fetch(self, download: bool) -> None:
        """Make sure that the four compressed files are there.

        Raises:
            BadInput: they are missing and cannot be had.
        """
        fetch_files(self.name, self._folder(), self._files(), download)

    def load(self) -> tuple[ImageSet, ImageSet]:
        """Training and test images in the published order, uint8 `(N, 3, 32, 32)`, three equal channels.

        Raises:
            BadInput: a file is missing, is not the published one, or holds something else than images.
        """
        self.fetch(download=False)
        train_images, train_labels, test_images, test_labels = (_array(self._folder(), file) for file in self._files())
        return _set(train_images, train_labels, "mnist/train"), _set(test_images, test_labels, "mnist/test")

    def _folder(self) -> Path:
        return self.data_dir / "MNIST" / "raw"

    def _files(self) -> list[PublishedFile]:
        """Images and labels of the training set, then of the test set."""
        described = torchvision_dataset(self.name, "MNIST")
        return [
            PublishedFile(name, tuple(mirror + name for mirror in described.mirrors), md5)
            for name, md5 in described.resources
        ]


def _array(folder: Path, file: PublishedFile) -> NDArray[np.uint8]:
    """The array in an idx file: two zero bytes, type 8 (unsigned bytes), number of axes, their lengths, the values."""
    content = gzip.decompress(read_checked(folder / file.name, file.md5))
    axes = content[3]
    shape = tuple(np.frombuffer(content, dtype=">u4", count=axes, offset=4).tolist())
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes)
    if content[:3] != b"\x00\x00\x08" or len(values) != math.prod(shape):
        raise BadInput(f"{folder / file.name}: not an idx file of unsigned bytes")
    return values.reshape(shape)


def _set(pixels: NDArray[np.uint8], labels: NDArray[np.uint8], name: str) -> ImageSet:
    import torch

    from p2be_exp.data.images import ImageSet

    if pixels.shape[1:] != (PUBLISHED_SIDE, PUBLISHED_SIDE):
        raise BadInput(f"{name}: images of shape {pixels.shape}, expected (N, {PUBLISHED_SIDE}, {PUBLISHED_SIDE})")
    border = (Mnist.published.side - PUBLISHED_SIDE) // 2
    padded = np.pad(pixels, ((0, 0), (border, border), (border, border)))
    images = torch.from_numpy(padded)[:, None].repeat(1, 3, 1, 1)
    return ImageSet(images, torch.from_numpy(labels.astype(np.int64)), tuple("0123456789"), name)
