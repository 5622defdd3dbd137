"""Data sets that are folders of pictures, PART/CLASS/PICTURE: any such folder, and ImageNet.

Classes, and the pictures of a class, are in the order of their names; that order numbers the images.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2be_exp.data.decoding import TestView
from p2be_exp.errors import BadInput
from p2be_exp.system.paths import user_path

if TYPE_CHECKING:
    from p2be_exp.data.files import FileSet, Names

PICTURES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".apng", ".gif", ".webp", ".avif"),
    *(".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
}
"""Endings of pictures, in small letters: one list for all machines, since the numbers of the images depend on it."""

SYSTEM_FOLDERS = {
    *("@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin"),
    *("system volume information", "lost+found", "__macosx", "__pycache__"),
}
"""Folders that disk stations, operating systems and archives leave among others, in small letters: never a class."""


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
    def of(cls, dataset: Mapping[str, Any]) -> FolderSettings | None:
        """Those of a configuration's ``dataset`` group; None for data sets that are no picture files."""
        if "image_size" not in dataset:
            return None
        return cls(
            folder=None if dataset.get("dir") is None else user_path("dataset.dir", dataset["dir"]),
            image_size=dataset["image_size"],
            resized=dataset["resized"],
            workers=dataset["workers"],
            timeout=dataset["timeout"],
            resized_crop=dataset["augmentation"] == "resized_crop",
        )

    @property
    def view(self) -> TestView:
        """What of a picture is tested on."""
        return TestView(self.image_size, self.resized)


def fetch(name: str, data_dir: str | Path, settings: FolderSettings, download: bool) -> None:
    """Check that the folder and its parts are there; nothing is downloaded, whatever `download` says.

    Raises:
        BadInput: they are not.
    """
    _parts(name, data_dir, settings)


def load(name: str, data_dir: str | Path, settings: FolderSettings) -> tuple[FileSet | None, FileSet]:
    """The files for training (None with `test_only`) and for testing; none is opened.

    Raises:
        BadInput: a part is missing, has no classes, a class without a picture, or other classes than the other part; or
            there is one class to train on, of which a network is never wrong.
    """
    train, test = _parts(name, data_dir, settings)
    if settings.test_only:
        return None, listed(test, class_names(test), settings.view, f"{name}/test")
    classes, others = class_names(train), class_names(test)
    if different := sorted(set(classes) ^ set(others)):
        raise BadInput(
            f"dataset={name}: {train} and {test} have different classes "
            f"({len(different)} are in one alone, {different[0]} first)"
        )
    if len(classes) == 1:
        raise BadInput(
            f"dataset={name}: {train} has one class alone, {classes[0]}; wanted are two or more to tell apart"
        )
    return (
        listed(train, classes, settings.view, f"{name}/train"),
        listed(test, classes, settings.view, f"{name}/test"),
    )


def class_names(folder: Path) -> tuple[str, ...]:
    """The names of the folders in a folder, sorted; hidden ones and :data:`SYSTEM_FOLDERS` are passed over."""
    return tuple(
        sorted(
            entry.name
            for entry in os.scandir(folder)
            if entry.name[0] != "." and entry.name.lower() not in SYSTEM_FOLDERS and entry.is_dir()
        )
    )


def listed(folder: Path, classes: tuple[str, ...], view: TestView, name: str) -> FileSet:
    """The pictures of some classes in a folder.

    Raises:
        BadInput: there is no class, or one without a picture.
    """
    import torch  # which takes seconds: whether a folder is there is known without it

    from p2be_exp.data.files import FileSet

    names, counts = [], []
    for each in classes:
        pictures = picture_names(folder / each)
        if not pictures:
            raise BadInput(f"{folder / each}: no picture in it; wanted are {folder}/CLASS/PICTURE.jpg (or .png, ...)")
        names += [os.fsencode(f"{each}/{picture}") for picture in pictures]
        counts.append(len(pictures))
    if not names:
        raise BadInput(f"{folder}: no folder of a class in it; wanted are {folder}/CLASS/PICTURE.jpg (or .png, ...)")
    labels = torch.from_numpy(np.repeat(np.arange(len(classes)), counts)).long()
    return FileSet(folder, _as_names(names), labels, classes, view, name)


def picture_names(folder: Path) -> list[str]:
    """The names of the pictures in a folder, sorted; hidden files are passed over."""
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.name[entry.name.rfind(".") :].lower() in PICTURES and entry.name[0] != "." and entry.is_file()
    )


def _as_names(names: list[bytes]) -> Names:
    return np.array(names, dtype=np.bytes_)


def _parts(name: str, data_dir: str | Path, settings: FolderSettings) -> tuple[Path, Path]:
    """The folders of the training and of the test pictures."""
    if settings.folder is None and name == "image_folder":
        raise BadInput("dataset.dir: where are the pictures? dataset.dir=FOLDER, with train/ and test/ or val/ in it")
    home = settings.folder or user_path("data_dir", data_dir) / name
    wanted = (
        f"wanted are {home}/train/CLASS/PICTURE and {home}/test/CLASS/PICTURE (or val)"
        if name == "image_folder"
        else f"wanted are {home}/train/WNID/*.JPEG and {home}/val/WNID/*.JPEG; set data_dir or dataset.dir to where "
        "they are, or use dataset=digits"
    )
    if not home.is_dir():
        raise BadInput(f"dataset={name}: no folder {home}; {wanted}")
    tests = [home / part for part in (("test", "val") if name == "image_folder" else ("val",))]
    test = next((part for part in tests if part.is_dir()), tests[-1])
    for part in (test,) if settings.test_only else (home / "train", test):
        if not part.is_dir():
            raise BadInput(f"dataset={name}: no folder {part}; {wanted}")
        if not class_names(part):
            raise BadInput(f"dataset={name}: {part} has no folder of a class in it; {wanted}")
    return home / "train", test
