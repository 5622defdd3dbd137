"""Keys of ``dataset=``."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number, path


@dataclass
class DatasetConfig:
    """Base of every data set."""

    name: str = MISSING
    val_size: int = number(0)
    split_seed: int = number(0)
    augmentation: str = choice("flip_crop", "crop", "none")

    @property
    def download(self) -> bool:
        """Whether it is downloaded if it is missing."""
        return False

    @property
    def dir(self) -> str | None:
        """Folder of pictures named by the user."""
        return None

    @property
    def image_size(self) -> int | None:
        """Height and width that its pictures are cropped to; None if its images have a fixed size."""
        return None


@dataclass
class DownloadableDatasetConfig(DatasetConfig):
    download: bool = MISSING


@dataclass
class PicturesDatasetConfig(DatasetConfig):
    augmentation: str = choice("resized_crop", "flip_crop", "crop", "none")
    image_size: int = number(8, 4096)
    resized: int = number(8, 8192)
    workers: int | None = number(0)
    timeout: float | None = number(above=0)


@dataclass
class FolderDatasetConfig(PicturesDatasetConfig):
    dir: str | None = path()


@dataclass
class DownloadablePicturesConfig(PicturesDatasetConfig):
    download: bool = MISSING
