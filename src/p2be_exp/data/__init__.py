"""Data sets as uint8 levels, from their files to the batches that a model sees."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2be_exp.data.batch import Batch
    from p2be_exp.data.by_name import data_source, list_datasets, load_dataset, source_class
    from p2be_exp.data.files import FileSet
    from p2be_exp.data.image_folder import FolderSettings
    from p2be_exp.data.images import ImageSet
    from p2be_exp.data.loader import ResidentLoader
    from p2be_exp.data.module import ImageDataModule
    from p2be_exp.data.source import DataSource

__all__ = [
    "Batch",
    "DataSource",
    "FileSet",
    "FolderSettings",
    "ImageDataModule",
    "ImageSet",
    "ResidentLoader",
    "data_source",
    "list_datasets",
    "load_dataset",
    "source_class",
]

_MODULES = {
    "Batch": "batch",
    "DataSource": "source",
    "FileSet": "files",
    "FolderSettings": "image_folder",
    "ImageDataModule": "module",
    "ImageSet": "images",
    "ResidentLoader": "loader",
    **dict.fromkeys(("data_source", "list_datasets", "load_dataset", "source_class"), "by_name"),
}


def __getattr__(name: str) -> Any:
    # Importing PyTorch takes seconds; whether a folder is there is known without it.
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
