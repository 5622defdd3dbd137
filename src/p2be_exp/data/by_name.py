"""The data sets by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from p2be_exp.data.source import DataSource
from p2be_exp.registry import built, option

if TYPE_CHECKING:
    from p2be_exp.data.files import AnySet
    from p2be_exp.data.image_folder import FolderSettings


def list_datasets() -> list[str]:
    """Names that the other functions accept, in alphabetical order."""
    return built("dataset")


def source_class(name: str) -> type[DataSource]:
    """What is known of a data set before any of it is read: its class, without an import of PyTorch.

    Raises:
        BadInput: no such data set.

    >>> source_class("cifar10").published
    Size(train=50000, test=10000, classes=10, side=32)
    """
    return option("dataset", name).factory()


def data_source(name: str, data_dir: str | Path, folder: FolderSettings | None = None) -> DataSource:
    """A data set below a data folder.

    Args:
        name: one of `list_datasets()`.
        data_dir: the folder that holds the folders of the data sets.
        folder: needed by data sets of picture files.

    Raises:
        BadInput: no such data set.
    """
    return source_class(name)(data_dir, folder)


def load_dataset(
    name: str, data_dir: str | Path, download: bool = True, folder: FolderSettings | None = None
) -> tuple[AnySet | None, AnySet]:
    """Training and test images of a data set, on the host; of picture files nothing is decoded.

    The training images are None where `folder` asks for only the test images and they have a folder of their own.

    Args:
        name: one of `list_datasets()`.
        data_dir: the folder that holds the folders of the data sets.
        download: fetch what is missing.
        folder: needed by data sets of picture files.

    Raises:
        BadInput: no such data set, or its files are missing and cannot be had, or are damaged.
    """
    source = data_source(name, data_dir, folder)
    source.fetch(download)
    return source.load()
