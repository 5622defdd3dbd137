"""SVHN, house numbers from the street, cropped to one digit each: 73,257 training and 26,032 test images of 32 x 32.

Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", NIPS workshop 2011. The
531,131 easier images of the published `extra` part are not used. Names, addresses and checksums are torchvision's.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch

from p2be_exp.data.fetching import PublishedFile, fetch_files, read_checked, torchvision_dataset
from p2be_exp.data.images import ImageSet
from p2be_exp.errors import BadInput
from p2be_exp.system.paths import user_path

NUM_CLASSES = 10
IMAGE_SIZE = 32


def fetch(data_dir: str | Path, download: bool) -> None:
    """Make sure that the two files are in `svhn` under `data_dir`.

    Raises:
        BadInput: they are missing and cannot be had.
    """
    fetch_files("svhn", _folder(data_dir), _files(), download)


def load(data_dir: str | Path) -> tuple[ImageSet, ImageSet]:
    """Training and test images, uint8 `(N, 3, 32, 32)`, in the published order; label k is the digit k.

    Raises:
        BadInput: a file is missing, is not the published one, or holds something else than images.
    """
    fetch(data_dir, download=False)
    train, test = (
        _images(_folder(data_dir) / file.name, file.md5, f"svhn/{part}")
        for file, part in zip(_files(), ("train", "test"), strict=True)
    )
    return train, test


def _folder(data_dir: str | Path) -> Path:
    return user_path("data_dir", data_dir) / "svhn"


def _files() -> list[PublishedFile]:
    published = torchvision_dataset("svhn", "SVHN").split_list
    return [PublishedFile(name, (url,), md5) for url, name, md5 in (published["train"], published["test"])]


def _images(path: Path, md5: str, name: str) -> ImageSet:
    # Imported here because it takes a while that the other data sets need not pay.
    from scipy.io import loadmat

    entry = loadmat(io.BytesIO(read_checked(path, md5)))
    pixels, labels = entry["X"], entry["y"].reshape(-1)
    if pixels.shape[:3] != (IMAGE_SIZE, IMAGE_SIZE, 3):
        raise BadInput(f"{path}: images of shape {pixels.shape}, allowed is ({IMAGE_SIZE}, {IMAGE_SIZE}, 3, N)")
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)))
    digits = torch.from_numpy(labels.astype(np.int64))
    digits[digits == 10] = 0  # as published, 10 stands for the digit 0
    return ImageSet(images, digits, tuple("0123456789"), name)
