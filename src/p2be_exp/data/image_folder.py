"""Data sets that are folders of pictures, PART/CLASS/PICTURE: any such folder, and ImageNet."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from p2be_exp.data.decoding import TestView
from p2be_exp.data.listing import class_names, listed
from p2be_exp.data.source import PictureSource, Size
from p2be_exp.errors import BadInput
from p2be_exp.system.paths import user_path

if TYPE_CHECKING:
    from p2be_exp.config.schema import DatasetConfig, PicturesDatasetConfig
    from p2be_exp.data.files import FileSet


@dataclass(frozen=True)
class FolderSettings:
    """What a data set of picture files needs to know beside its name.

    Attributes:
        folder: where it is; None: where the data set says.
        image_size: height and width of the images that a model sees, in pixels.
        resized: shorter side of a test picture before its middle is cut out, at least `image_size`.
        workers: processes that decode; None: one a core.
        timeout: seconds that a batch may take to come from them, at most; None: without a limit.
        resized_crop: training pictures are randomly cropped, scaled and flipped as they are decoded.
        test_only: of a folder of two parts the training pictures are not looked for.
    """

    folder: Path | None
    image_size: int
    resized: int
    workers: int | None
    resized_crop: bool
    timeout: float | None = None
    test_only: bool = False

    @classmethod
    def of(cls, dataset: DatasetConfig) -> FolderSettings | None:
        """Those of a configuration's ``dataset`` group; None for data sets that are no picture files."""
        if dataset.image_size is None:
            return None
        pictures = cast("PicturesDatasetConfig", dataset)
        return cls(
            folder=None if dataset.dir is None else user_path("dataset.dir", dataset.dir),
            image_size=pictures.image_size,
            resized=pictures.resized,
            workers=pictures.workers,
            timeout=pictures.timeout,
            resized_crop=dataset.augmentation == "resized_crop",
        )

    @property
    def view(self) -> TestView:
        """What of a picture is tested on."""
        return TestView(self.image_size, self.resized)


class FolderSource(PictureSource):
    """A folder of two parts, for training and for testing, that is there or is not: nothing is downloaded.

    Attributes:
        test_parts: names of the folder of the test pictures; the first that is there counts.
    """

    test_parts: ClassVar[tuple[str, ...]]

    def check(self, download: bool) -> None:
        super().check(download)
        self._parts()

    def fetch(self, download: bool) -> None:
        """Check that the folder and its parts are there; nothing is downloaded, whatever `download` says.

        Raises:
            BadInput: they are not.
        """
        self._parts()

    def load(self) -> tuple[FileSet | None, FileSet]:
        """The files for training (None with `settings.test_only`) and for testing; none is opened.

        Raises:
            BadInput: a part is missing, has no classes, a class without a picture, or other classes than the other
                part; or there is one class to train on, of which a network is never wrong.
        """
        train, test = self._parts()
        view = self.settings.view
        if self.settings.test_only:
            return None, listed(test, class_names(test), view, f"{self.name}/test")
        classes = self._common_classes(train, test)
        return (
            listed(train, classes, view, f"{self.name}/train"),
            listed(test, classes, view, f"{self.name}/test"),
        )

    def _common_classes(self, train: Path, test: Path) -> tuple[str, ...]:
        classes, others = class_names(train), class_names(test)
        if different := sorted(set(classes) ^ set(others)):
            raise BadInput(
                f"dataset={self.name}: {train} and {test} have different classes "
                f"({len(different)} are in only one of them, {different[0]} first)"
            )
        if len(classes) == 1:
            raise BadInput(f"dataset={self.name}: {train} has only one class, {classes[0]}; two or more are needed")
        return classes

    def _folder(self) -> Path:
        """The folder of both parts."""
        return self.settings.folder or self.data_dir / self.name

    @abstractmethod
    def _layout(self, folder: Path) -> str:
        """What is expected in the folder, for messages."""

    def _parts(self) -> tuple[Path, Path]:
        """The folders of the training and of the test pictures."""
        folder = self._folder()
        layout = self._layout(folder)
        if not folder.is_dir():
            raise BadInput(f"dataset={self.name}: no folder {folder}; {layout}")
        tests = [folder / part for part in self.test_parts]
        test = next((part for part in tests if part.is_dir()), tests[-1])
        for part in (test,) if self.settings.test_only else (folder / "train", test):
            if not part.is_dir():
                raise BadInput(f"dataset={self.name}: no folder {part}; {layout}")
            if not class_names(part):
                raise BadInput(f"dataset={self.name}: {part} has no folder of a class in it; {layout}")
        return folder / "train", test


class ImageFolder(FolderSource):
    """A folder of the user's own, given by ``dataset.dir``."""

    name = "image_folder"
    test_parts = ("test", "val")

    def _folder(self) -> Path:
        if self.settings.folder is None:
            raise BadInput("dataset.dir is required: the folder of the pictures, with train/ and test/ or val/ in it")
        return self.settings.folder

    def _layout(self, folder: Path) -> str:
        return f"expected {folder}/train/CLASS/PICTURE and {folder}/test/CLASS/PICTURE (or val)"


class ImageNet(FolderSource):
    """ImageNet, or any part of its classes, in the layout that torchvision uses.

    O. Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015.
    """

    name = "imagenet"
    published = Size(1_281_167, 50_000, classes=1000, side=224)
    test_parts = ("val",)

    def _layout(self, folder: Path) -> str:
        return (
            f"expected {folder}/train/WNID/*.JPEG and {folder}/val/WNID/*.JPEG; set data_dir or dataset.dir to "
            "where they are, or use dataset=digits"
        )
