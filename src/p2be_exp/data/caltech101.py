"""Caltech 101: 8,677 pictures of 101 kinds of objects, from 31 to 800 of each; the background pictures are left out.

L. Fei-Fei et al., "Learning Generative Visual Models from Few Training Examples", 2004. There is no published split.
Here 30 pictures of each class, drawn once, are the training set and all others the test set: the usual number for this
data set. Address and checksum of the archive are torchvision's.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from p2be_exp.data.fetching import PublishedFile, explained, fetch_archive, missing_line
from p2be_exp.data.files import FileSet
from p2be_exp.data.image_folder import FolderSettings, class_names, listed
from p2be_exp.errors import BadInput
from p2be_exp.randomness.order import CALTECH101_SPLIT, random_order
from p2be_exp.system.paths import user_path

NUM_CLASSES = 101
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


def fetch(data_dir: str | Path, settings: FolderSettings, download: bool) -> None:
    """Make sure that the folder of pictures is in `caltech101` under `data_dir`.

    Raises:
        BadInput: it is missing and cannot be had.
    """
    home = user_path("data_dir", data_dir) / "caltech101"
    if (home / PICTURES).is_dir():
        return
    with explained(missing_line("caltech101", [PICTURES], home, f"put the zip ({ARCHIVE.urls[0]}) into {home}")):
        archive = fetch_archive(ARCHIVE, home, download)
        _extract(archive, home)


def load(data_dir: str | Path, settings: FolderSettings) -> tuple[FileSet, FileSet]:
    """The files for training and for testing; an image's index is its position among all pictures by class and name.

    Raises:
        BadInput: the folder is missing, has not 101 classes, or a class with too few pictures.
    """
    fetch(data_dir, settings, download=False)
    folder = user_path("data_dir", data_dir) / "caltech101" / PICTURES
    classes = tuple(name for name in class_names(folder) if name != BACKGROUND)
    if len(classes) != NUM_CLASSES:
        raise BadInput(f"dataset=caltech101: {folder} has {len(classes)} classes, the published one {NUM_CLASSES}")
    pictures = listed(folder, classes, settings.view, "caltech101")
    train, test = split(pictures)
    return (
        replace(pictures.subset(train), name="caltech101/train"),
        replace(pictures.subset(test), name="caltech101/test"),
    )


def split(pictures: FileSet) -> tuple[Tensor, Tensor]:
    """Positions of the training and of the test pictures, both ascending.

    Raises:
        BadInput: a class has no picture left for testing.
    """
    train, test = [], []
    for label, name in enumerate(pictures.classes):
        places = (pictures.labels == label).nonzero().squeeze(1)
        if len(places) <= TRAIN_PER_CLASS:
            raise BadInput(
                f"{pictures.folder / name}: {len(places)} pictures, allowed are {TRAIN_PER_CLASS + 1} or more"
            )
        order = random_order(len(places), SPLIT_SEED, CALTECH101_SPLIT, label)
        train.append(places[order[:TRAIN_PER_CLASS]])
        test.append(places[order[TRAIN_PER_CLASS:]])
    return torch.cat(train).sort().values, torch.cat(test).sort().values


def _extract(archive: Path, home: Path) -> None:
    """Put the folder of pictures in its place; it appears there only once it is whole."""
    from torchvision.datasets.utils import extract_archive

    with tempfile.TemporaryDirectory(dir=home) as unpacked:
        extract_archive(archive, unpacked)
        extract_archive(Path(unpacked, INNER_ARCHIVE), unpacked)
        Path(unpacked, PICTURES).replace(home / PICTURES)
