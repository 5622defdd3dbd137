"""CIFAR-10 and CIFAR-100 in the layout that torchvision uses: local files first, every file checked by md5.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Names, addresses and checksums
of the published files are torchvision's.
"""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from p2be_exp.data.fetching import (
    PublishedFile,
    explained,
    fetch_archive,
    missing_line,
    read_checked,
    torchvision_dataset,
)
from p2be_exp.data.source import LevelSource, Size
from p2be_exp.errors import BadInput

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

    from p2be_exp.data.images import ImageSet


class Cifar(LevelSource):
    """What CIFAR-10 and CIFAR-100 have in common.

    Attributes:
        torchvision_name: of torchvision's class.
    """

    torchvision_name: ClassVar[str]

    def fetch(self, download: bool) -> None:
        """Make sure that the files are there.

        Missing ones come out of the published archive, taken from the data folder or, with `download`, from its address
        (with a progress bar).

        Raises:
            BadInput: files are missing and cannot be had.
        """
        described, folder = self._described(), self._folder()
        missing = [file for file in _checksums(described) if not (folder / file).is_file()]
        if not missing:
            return
        how = f"extract {described.url} into {self.data_dir}"
        archive = PublishedFile(described.filename, (described.url,), described.tgz_md5)
        with explained(missing_line(self.name, missing, folder, how)):
            _extract(fetch_archive(archive, self.data_dir, download), folder, missing)

    def load(self) -> tuple[ImageSet, ImageSet]:
        """Training and test images in the published order.

        Returns:
            uint8 `(50000, 3, 32, 32)` and `(10000, 3, 32, 32)` with their (for CIFAR-100: fine) labels.

        Raises:
            BadInput: a file is missing, is not the published one, or holds something else than images.
        """
        self.fetch(download=False)
        described, folder = self._described(), self._folder()
        md5, meta = _checksums(described), described.meta
        classes = tuple(_read(folder / meta["filename"], md5)[meta["key"]])
        train, test = (
            [_images(folder / file, md5, classes) for file, _ in files]
            for files in (described.train_list, described.test_list)
        )
        return _join(train, f"{self.name}/train"), _join(test, f"{self.name}/test")

    def _folder(self) -> Path:
        return self.data_dir / self._described().base_folder

    def _described(self) -> type[CIFAR10]:
        """torchvision's description of the data set: folder, address, file names and checksums."""
        return torchvision_dataset(self.name, self.torchvision_name)


class Cifar10(Cifar):
    name = "cifar10"
    torchvision_name = "CIFAR10"
    published = Size(50_000, 10_000, classes=10, side=32)
    paths = ("cifar-10-batches-py", "cifar-10-python.tar.gz")


class Cifar100(Cifar):
    name = "cifar100"
    torchvision_name = "CIFAR100"
    published = Size(50_000, 10_000, classes=100, side=32)
    paths = ("cifar-100-python", "cifar-100-python.tar.gz")


def _checksums(described: type[CIFAR10]) -> dict[str, str]:
    """md5 of every file that is read, by its name."""
    meta = described.meta
    return dict([*described.train_list, *described.test_list, (meta["filename"], meta["md5"])])


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
    import torch

    from p2be_exp.data.images import ImageSet

    entry, side = _read(path, md5), Cifar10.published.side
    pixels = np.asarray(entry["data"])
    if pixels.ndim != 2 or pixels.shape[1] != 3 * side**2:
        raise BadInput(f"{path}: images of shape {pixels.shape}, expected (N, {3 * side**2})")
    images = torch.from_numpy(pixels).view(-1, 3, side, side)
    labels = entry["fine_labels"] if "fine_labels" in entry else entry["labels"]
    return ImageSet(images, torch.tensor(labels), classes, str(path))


def _join(parts: list[ImageSet], name: str) -> ImageSet:
    import torch

    from p2be_exp.data.images import ImageSet

    images, labels = (torch.cat([getattr(part, what) for part in parts]) for what in ("images", "labels"))
    return ImageSet(images, labels, parts[0].classes, name)
