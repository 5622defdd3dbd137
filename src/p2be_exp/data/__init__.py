"""Data sets as uint8 levels, from their files to the batches that a model sees."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2be_exp.data.batch import Batch
    from p2be_exp.data.files import FileSet
    from p2be_exp.data.image_folder import FolderSettings
    from p2be_exp.data.images import ImageSet
    from p2be_exp.data.loader import ResidentLoader
    from p2be_exp.data.module import ImageDataModule
    from p2be_exp.data.registry import dataset_info, list_datasets, load_dataset

__all__ = [
    "Batch",
    "FileSet",
    "FolderSettings",
    "ImageDataModule",
    "ImageSet",
    "ResidentLoader",
    "dataset_info",
    "list_datasets",
    "load_dataset",
]

_HOMES = {
    "Batch": "batch",
    "FileSet": "files",
    "FolderSettings": "image_folder",
    "ImageDataModule": "module",
    "ImageSet": "images",
    "ResidentLoader": "loader",
    **dict.fromkeys(("dataset_info", "list_datasets", "load_dataset"), "registry"),
}


def __getattr__(name: str) -> Any:
    # Importing PyTorch takes seconds; whether a folder is there is known without it.
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
