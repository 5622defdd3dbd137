"""The data sets by name: what each one is, how its files are found, how it is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from p2be_exp.data import cifar, digits
from p2be_exp.data.images import ImageSet
from p2be_exp.errors import BadInput


class DatasetInfo(NamedTuple):
    """What a model needs to know of a data set before any of it is read."""

    num_classes: int
    image_size: int  # height and width in pixels


class _Source(NamedTuple):
    info: DatasetInfo
    fetch: Callable[[str | Path, bool], None]  # data_dir, download
    load: Callable[[str | Path], tuple[ImageSet, ImageSet]]  # data_dir


_SOURCES = {
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


def fetch_dataset(name: str, data_dir: str | Path, download: bool = True) -> None:
    """Make sure that the files of a data set are under `data_dir`, downloading them if need be and allowed.

    Raises:
        BadInput: no such data set, or its files are missing and cannot be had.
    """
    _source(name).fetch(data_dir, download)


def load_dataset(name: str, data_dir: str | Path, download: bool = True) -> tuple[ImageSet, ImageSet]:
    """Training and test images of a data set, on the host.

    Args:
        name: one of `list_datasets()`.
        data_dir: the folder that holds the folders of the data sets.
        download: fetch what is missing.

    Raises:
        BadInput: no such data set, or its files are missing and cannot be had, or are damaged.
    """
    fetch_dataset(name, data_dir, download)
    return _source(name).load(data_dir)


def _source(name: str) -> _Source:
    if name not in _SOURCES:
        raise BadInput(f"dataset={name}: allowed are {', '.join(list_datasets())}")
    return _SOURCES[name]
