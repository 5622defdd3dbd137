"""The data sets by name: what each one is, how its files are found, how it is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from p2be_exp.data import caltech101, cifar, digits, image_folder, mnist, svhn
from p2be_exp.data.files import FileSet
from p2be_exp.data.image_folder import FolderSettings
from p2be_exp.data.images import ImageSet
from p2be_exp.errors import BadInput


class DatasetInfo(NamedTuple):
    """What a model needs to know of a data set before any of it is read; None where only its folder says."""

    num_classes: int | None
    image_size: int | None  # height and width in pixels


AnySet = ImageSet | FileSet


class _Source(NamedTuple):
    info: DatasetInfo
    fetch: Callable[[str | Path, bool], None]  # data_dir, download
    load: Callable[[str | Path], tuple[ImageSet, ImageSet]]  # data_dir


class _FolderSource(NamedTuple):
    info: DatasetInfo
    fetch: Callable[[str | Path, FolderSettings, bool], None]  # data_dir, settings, download
    load: Callable[[str | Path, FolderSettings], tuple[FileSet | None, FileSet]]  # data_dir, settings


_SOURCES: dict[str, _Source | _FolderSource] = {
    "cifar10": _Source(
        DatasetInfo(10, cifar.IMAGE_SIZE), partial(cifar.fetch, "cifar10"), partial(cifar.load, "cifar10")
    ),
    "cifar100": _Source(
        DatasetInfo(100, cifar.IMAGE_SIZE), partial(cifar.fetch, "cifar100"), partial(cifar.load, "cifar100")
    ),
    "digits": _Source(
        DatasetInfo(digits.NUM_CLASSES, digits.IMAGE_SIZE),
        lambda data_dir, download: None,
        lambda data_dir: digits.load(),
    ),
    "svhn": _Source(DatasetInfo(svhn.NUM_CLASSES, svhn.IMAGE_SIZE), svhn.fetch, svhn.load),
    "mnist": _Source(DatasetInfo(mnist.NUM_CLASSES, mnist.IMAGE_SIZE), mnist.fetch, mnist.load),
    "caltech101": _FolderSource(DatasetInfo(caltech101.NUM_CLASSES, None), caltech101.fetch, caltech101.load),
    **{
        name: _FolderSource(
            DatasetInfo(None, None), partial(image_folder.fetch, name), partial(image_folder.load, name)
        )
        for name in ("imagenet", "image_folder")
    },
}


def list_datasets() -> list[str]:
    """Names that the other functions accept, in alphabetical order."""
    return sorted(_SOURCES)


def dataset_info(name: str) -> DatasetInfo:
    """Number of classes and image size, without reading the data.

    Raises:
        BadInput: no such data set.
    """
    return _source(name).info


def fetch_dataset(name: str, data_dir: str | Path, download: bool = True, folder: FolderSettings | None = None) -> None:
    """Make sure that the files of a data set are where they are looked for, downloading them if need be and allowed.

    Raises:
        BadInput: no such data set, or its files are missing and cannot be had.
    """
    source = _source(name)
    if isinstance(source, _FolderSource):
        source.fetch(data_dir, _settings(name, folder), download)
    else:
        source.fetch(data_dir, download)


def load_dataset(
    name: str, data_dir: str | Path, download: bool = True, folder: FolderSettings | None = None
) -> tuple[AnySet | None, AnySet]:
    """Training and test images of a data set, on the host; of picture files nothing is decoded.

    The training images are None where `folder` asks for the test images alone and they have a folder of their own.

    Args:
        name: one of `list_datasets()`.
        data_dir: the folder that holds the folders of the data sets.
        download: fetch what is missing.
        folder: needed by data sets of picture files.

    Raises:
        BadInput: no such data set, or its files are missing and cannot be had, or are damaged.
    """
    fetch_dataset(name, data_dir, download, folder)
    source = _source(name)
    if isinstance(source, _FolderSource):
        return source.load(data_dir, _settings(name, folder))
    return source.load(data_dir)


def _settings(name: str, folder: FolderSettings | None) -> FolderSettings:
    if folder is None:
        raise ValueError(f"{name} is a data set of picture files: give it its FolderSettings")
    return folder


def _source(name: str) -> _Source | _FolderSource:
    if name not in _SOURCES:
        raise BadInput(f"dataset={name}: allowed are {', '.join(list_datasets())}")
    return _SOURCES[name]
