"""Caltech's pictures of objects: published as one archive, a folder per class in it, without a split."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from p2be_exp.data.fetching import PublishedFile, explained, fetch_archive, missing_line
from p2be_exp.data.listing import class_names, listed
from p2be_exp.data.source import PictureSource
from p2be_exp.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from p2be_exp.data.files import FileSet


class CaltechSource(PictureSource):
    """A data set of Caltech, in the folder of its name below the data folder, as torchvision has it.

    Attributes:
        archive: what is published; address and checksum are torchvision's.
        inner: the archive inside the archive that holds the pictures; None where that one holds them itself.
        pictures: name of the folder of the classes.
        left_out: classes of the archive that are not used.
    """

    num_classes: ClassVar[int]
    archive: ClassVar[PublishedFile]
    inner: ClassVar[str | None] = None
    pictures: ClassVar[str]
    left_out: ClassVar[tuple[str, ...]] = ()

    def fetch(self, download: bool) -> None:
        """Make sure that the folder of pictures is there.

        Raises:
            BadInput: it is missing and cannot be had.
        """
        folder = self._folder()
        if (folder / self.pictures).is_dir():
            return
        kind = Path(self.archive.name).suffix.removeprefix(".")
        how = f"put the {kind} ({self.archive.urls[0]}) into {folder}"
        with explained(missing_line(self.name, [self.pictures], folder, how)):
            self._extract(fetch_archive(self.archive, folder, download), folder)

    def load(self) -> tuple[FileSet, FileSet]:
        """The files for training and for testing; an image's index is its position among all, by class and name.

        Raises:
            BadInput: the folder is missing, does not have the published number of classes, or has a class with too few
                pictures.
        """
        self.fetch(download=False)
        folder = self._folder() / self.pictures
        classes = tuple(name for name in class_names(folder) if name not in self.left_out)
        if len(classes) != self.num_classes:
            raise BadInput(
                f"dataset={self.name}: {folder} has {len(classes)} classes, the published one {self.num_classes}"
            )
        pictures = listed(folder, classes, self.settings.view, self.name)
        train, test = self._split(pictures)
        return (
            replace(pictures.subset(train), name=f"{self.name}/train"),
            replace(pictures.subset(test), name=f"{self.name}/test"),
        )

    @abstractmethod
    def _fewest(self) -> int:
        """The pictures that a class needs for a part of it to be tested on."""

    @abstractmethod
    def _split_class(self, positions: Tensor, label: int) -> tuple[Tensor, Tensor]:
        """Those pictures of one class, int64 `(n,)` in the order of their names, to train on and to test on."""

    def _split(self, pictures: FileSet) -> tuple[Tensor, Tensor]:
        """Positions of the training and of the test pictures, both ascending.

        Raises:
            BadInput: a class has too few pictures.
        """
        import torch

        parts = []
        for label, name in enumerate(pictures.classes):
            positions = (pictures.labels == label).nonzero().squeeze(1)
            if len(positions) < self._fewest():
                raise BadInput(f"{pictures.folder / name}: {len(positions)} pictures, must be {self._fewest()} or more")
            parts.append(self._split_class(positions, label))
        train, test = (torch.cat(part).sort().values for part in zip(*parts, strict=True))
        return train, test

    def _folder(self) -> Path:
        return self.data_dir / self.name

    def _extract(self, archive: Path, folder: Path) -> None:
        """Put the pictures into the folder of the data set; they appear there only once they are whole."""
        from torchvision.datasets.utils import extract_archive

        with tempfile.TemporaryDirectory(dir=folder) as unpacked:
            extract_archive(archive, unpacked)
            if self.inner is not None:
                extract_archive(Path(unpacked, self.inner), unpacked)
            Path(unpacked, self.pictures).replace(folder / self.pictures)
