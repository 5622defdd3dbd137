"""Caltech 101: 8,677 pictures of 101 kinds of objects, from 31 to 800 of each; the background pictures are left out.

L. Fei-Fei et al., "Learning Generative Visual Models from Few Training Examples", 2004. There is no published split.
Here 30 pictures of each class, drawn once, are the training set and all others the test set: the usual number for this
data set. Address and checksum of the archive are torchvision's.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from p2be_exp.data.fetching import PublishedFile, explained, fetch_archive, missing_line
from p2be_exp.data.listing import class_names, listed
from p2be_exp.data.source import PictureSource
from p2be_exp.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from p2be_exp.data.files import FileSet

TRAIN_PER_CLASS = 30
SPLIT_SEED = 0  # of the one fixed split; never a run's seed, nor its split_seed
BACKGROUND = "BACKGROUND_Google"
ARCHIVE = PublishedFile(
    "caltech-101.zip",
    ("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",),
    "3138e1922a9193bfa496528edbbc45d0",
)
PICTURES = "101_ObjectCategories"
INNER_ARCHIVE = f"caltech-101/{PICTURES}.tar.gz"


class Caltech101(PictureSource):
    name = "caltech101"
    num_classes = 101
    paths = ("caltech101",)

    def fetch(self, download: bool) -> None:
        """Make sure that the folder of pictures is there.

        Raises:
            BadInput: it is missing and cannot be had.
        """
        folder = self._folder()
        if (folder / PICTURES).is_dir():
            return
        how = f"put the zip ({ARCHIVE.urls[0]}) into {folder}"
        with explained(missing_line(self.name, [PICTURES], folder, how)):
            _extract(fetch_archive(ARCHIVE, folder, download), folder)

    def load(self) -> tuple[FileSet, FileSet]:
        """The files for training and for testing; an image's index is its position among all, by class and name.

        Raises:
            BadInput: the folder is missing, does not have 101 classes, or has a class with too few pictures.
        """
        self.fetch(download=False)
        folder = self._folder() / PICTURES
        classes = tuple(name for name in class_names(folder) if name != BACKGROUND)
        if len(classes) != self.num_classes:
            raise BadInput(
                f"dataset=caltech101: {folder} has {len(classes)} classes, the published one {self.num_classes}"
            )
        pictures = listed(folder, classes, self.settings.view, self.name)
        train, test = split(pictures)
        return (
            replace(pictures.subset(train), name="caltech101/train"),
            replace(pictures.subset(test), name="caltech101/test"),
        )

    def _folder(self) -> Path:
        return self.data_dir / "caltech101"


def split(pictures: FileSet) -> tuple[Tensor, Tensor]:
    """Positions of the training and of the test pictures, both ascending.

    Raises:
        BadInput: a class has no picture left for testing.
    """
    import torch

    from p2be_exp.randomness.order import CALTECH101_SPLIT, random_order

    train, test = [], []
    for label, name in enumerate(pictures.classes):
        positions = (pictures.labels == label).nonzero().squeeze(1)
        if len(positions) <= TRAIN_PER_CLASS:
            raise BadInput(
                f"{pictures.folder / name}: {len(positions)} pictures, must be {TRAIN_PER_CLASS + 1} or more"
            )
        order = random_order(len(positions), SPLIT_SEED, CALTECH101_SPLIT, label)
        train.append(positions[order[:TRAIN_PER_CLASS]])
        test.append(positions[order[TRAIN_PER_CLASS:]])
    return torch.cat(train).sort().values, torch.cat(test).sort().values


def _extract(archive: Path, folder: Path) -> None:
    """Put the pictures into the folder of the data set; they appear there only once they are whole."""
    from torchvision.datasets.utils import extract_archive

    with tempfile.TemporaryDirectory(dir=folder) as unpacked:
        extract_archive(archive, unpacked)
        extract_archive(Path(unpacked, INNER_ARCHIVE), unpacked)
        Path(unpacked, PICTURES).replace(folder / PICTURES)
