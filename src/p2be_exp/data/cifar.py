"""CIFAR-10 and CIFAR-100 in the layout that torchvision uses: local files first, every file checked by md5.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Names, addresses and checksums
of the published files are torchvision's.
"""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from p2be_exp.data.fetching import (
    PublishedFile,
    explained,
    fetch_archive,
    missing_line,
    read_checked,
    torchvision_dataset,
)
from p2be_exp.data.images import ImageSet
from p2be_exp.errors import BadInput
from p2be_exp.system.paths import user_path

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

IMAGE_SIZE = 32


def fetch(name: str, data_dir: str | Path, download: bool) -> None:
    """Make sure that the files of `name` ("cifar10" or "cifar100") are under `data_dir`.

    Files already there are left alone. Missing ones come out of the published archive, taken from `data_dir`
    or, with `download`, from its address (with a progress bar).

    Raises:
        BadInput: files are missing and cannot be had.
    """
    published, data_dir = _published(name), user_path("data_dir", data_dir)
    folder = data_dir / published.base_folder
    missing = [file for file in _checksums(published) if not (folder / file).is_file()]
    if not missing:
        return
    how = f"extract {published.url} into {data_dir}"
    archive = PublishedFile(published.filename, (published.url,), published.tgz_md5)
    with explained(missing_line(name, missing, folder, how)):
        _extract(fetch_archive(archive, data_dir, download), folder, missing)


def load(name: str, data_dir: str | Path) -> tuple[ImageSet, ImageSet]:
    """Training and test images of `name`, in the published order, from files that are under `data_dir`.

    Returns:
        uint8 `(50000, 3, 32, 32)` and `(10000, 3, 32, 32)` with their (for CIFAR-100: fine) labels.

    Raises:
        BadInput: a file is missing, is not the published one, or holds something else than images.
    """
    published, data_dir = _published(name), user_path("data_dir", data_dir)
    fetch(name, data_dir, download=False)
    folder, md5 = data_dir / published.base_folder, _checksums(published)
    meta = published.meta
    classes = tuple(_read(folder / meta["filename"], md5)[meta["key"]])
    train, test = (
        [_images(folder / file, md5, classes) for file, _ in files]
        for files in (published.train_list, published.test_list)
    )
    return _join(train, f"{name}/train"), _join(test, f"{name}/test")


def _published(name: str) -> type[CIFAR10]:
    """torchvision's description of the data set: folder, address, file names and checksums."""
    return torchvision_dataset(name, {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}[name])


def _checksums(published: type[CIFAR10]) -> dict[str, str]:
    """md5 of every file that is read, by its name."""
    meta = published.meta
    return dict([*published.train_list, *published.test_list, (meta["filename"], meta["md5"])])


def _extract(archive: Path, folder: Path, files: list[str]) -> None:
    """Put these files of the archive into `folder`; one appears there only once it is whole."""
    from torchvision.datasets.utils import extract_archive

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as unpacked:
        extract_archive(archive, unpacked)
        for file in files:
            Path(unpacked, folder.name, file).replace(folder / file)


def _read(path: Path, md5: dict[str, str]) -> dict[str, Any]:
    """The pickled dictionary in a file, unpickled only after these very bytes have passed the md5 check."""
    return pickle.loads(read_checked(path, md5[path.name]), encoding="latin1")


def _images(path: Path, md5: dict[str, str], classes: tuple[str, ...]) -> ImageSet:
    entry = _read(path, md5)
    pixels = np.asarray(entry["data"])
    if pixels.ndim != 2 or pixels.shape[1] != 3 * IMAGE_SIZE**2:
        raise BadInput(f"{path}: images of shape {pixels.shape}, allowed is (N, {3 * IMAGE_SIZE**2})")
    images = torch.from_numpy(pixels).view(-1, 3, IMAGE_SIZE, IMAGE_SIZE)
    labels = entry["fine_labels"] if "fine_labels" in entry else entry["labels"]
    return ImageSet(images, torch.tensor(labels), classes, str(path))


def _join(parts: list[ImageSet], name: str) -> ImageSet:
    images, labels = (torch.cat([getattr(part, what) for part in parts]) for what in ("images", "labels"))
    return ImageSet(images, labels, parts[0].classes, name)
