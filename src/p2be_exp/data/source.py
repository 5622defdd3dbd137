"""A data set as an object: its sizes, classes and files, how it is fetched and how it is loaded.

Neither this module nor those of the sources import PyTorch before images are loaded: bad input is then refused at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from p2be_exp.errors import BadInput
from p2be_exp.system.paths import user_path

if TYPE_CHECKING:
    from p2be_exp.data.files import FileSet
    from p2be_exp.data.image_folder import FolderSettings
    from p2be_exp.data.images import ImageSet


class Size(NamedTuple):
    """How large a data set is: numbers of training images, test images and classes; side of an image in pixels."""

    train: int
    test: int
    classes: int
    side: int


class DataSource(ABC):
    """A data set, below one data folder.

    A data set is one subclass, in a module of its own, and one line in :mod:`p2be_exp.registry`.

    Args:
        data_dir: the folder that holds the folders of the data sets.
        settings: how pictures become images; needed only by :class:`PictureSource`.

    Attributes:
        name: the value of ``dataset=``.
        published: its size, where it is the same everywhere.
        num_classes: number of classes; None where it depends on the folder.
        image_size: height and width in pixels; None, before there is an object, where the settings say.
        paths: below `data_dir`: without any of these, none of its files are there. Empty: it needs none.
    """

    name: ClassVar[str]
    published: ClassVar[Size | None] = None
    num_classes: ClassVar[int | None]
    image_size: int | None
    paths: ClassVar[tuple[str, ...]] = ()

    def __init__(self, data_dir: str | Path, settings: FolderSettings | None = None) -> None:
        self._data_dir = data_dir

    @property
    def data_dir(self) -> Path:
        """The data folder, ``~`` expanded.

        Raises:
            BadInput: no folder can have this name.
        """
        return user_path("data_dir", self._data_dir)

    def check(self, download: bool) -> None:
        """Refuse a data set of which nothing is there and nothing is to be downloaded; no file is opened.

        Raises:
            BadInput: that is so; or no folder can have the name of the data folder.
        """
        looked_for = [self.data_dir / path for path in self.paths]
        if looked_for and not download and not any(path.exists() for path in looked_for):
            raise BadInput(
                f"dataset={self.name}: no {looked_for[0]}; set data_dir to where it is, or use dataset=digits "
                "(nothing was downloaded)"
            )

    @abstractmethod
    def fetch(self, download: bool) -> None:
        """Make sure that the files are there; those that are present are left unchanged.

        Args:
            download: fetch what is missing, if it is published.

        Raises:
            BadInput: files are missing and cannot be had.
        """

    @abstractmethod
    def load(self) -> tuple[ImageSet | FileSet | None, ImageSet | FileSet]:
        """Training and test images, on the host; nothing is downloaded.

        Raises:
            BadInput: files are missing, damaged, or hold something else.
        """


class LevelSource(DataSource):
    """A data set whose images are all of one size and fit into memory."""

    published: ClassVar[Size]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if size := getattr(cls, "published", None):
            cls.num_classes, cls.image_size = size.classes, size.side

    @abstractmethod
    def load(self) -> tuple[ImageSet, ImageSet]: ...


class PictureSource(DataSource):
    """A data set of picture files, decoded batch by batch.

    Attributes:
        settings: how its pictures become images.
    """

    num_classes: ClassVar[int | None] = None
    image_size: int | None = None

    def __init__(self, data_dir: str | Path, settings: FolderSettings | None = None) -> None:
        super().__init__(data_dir, settings)
        if settings is None:
            raise ValueError(f"{self.name} is a data set of picture files: it needs its FolderSettings")
        self.settings = settings
        self.image_size = settings.image_size

    @abstractmethod
    def load(self) -> tuple[FileSet | None, FileSet]:
        """The files of the training pictures (None with `settings.test_only`) and of the test pictures; none is opened.

        Raises:
            BadInput: files or classes are missing.
        """
