"""Data sets as uint8 levels, from their files to the batches that a model sees."""

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
