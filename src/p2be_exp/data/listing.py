"""Folders of pictures, CLASS/PICTURE: which classes and pictures they have.

Classes, and the pictures of a class, are in the order of their names; that order numbers the images.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from p2be_exp.errors import BadInput

if TYPE_CHECKING:
    from p2be_exp.data.decoding import TestView, WholeView
    from p2be_exp.data.files import FileSet, Names

PICTURES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".png", ".apng", ".gif", ".webp", ".avif"),
    *(".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
}
"""Endings of pictures, in lower case: one list for all machines, since the numbers of the images depend on it."""

SYSTEM_FOLDERS = {
    *("@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin"),
    *("system volume information", "lost+found", "__macosx", "__pycache__"),
}
"""Folders that disk stations, operating systems and archives leave among others, in lower case: never a class."""


def class_names(folder: Path) -> tuple[str, ...]:
    """The names of the folders in a folder, sorted; hidden ones and :data:`SYSTEM_FOLDERS` are skipped."""
    return tuple(
        sorted(
            entry.name
            for entry in os.scandir(folder)
            if entry.name[0] != "." and entry.name.lower() not in SYSTEM_FOLDERS and entry.is_dir()
        )
    )


def listed(folder: Path, classes: tuple[str, ...], view: TestView | WholeView, name: str) -> FileSet:
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
            raise BadInput(f"{folder / each}: no picture in it; expected {folder}/CLASS/PICTURE.jpg (or .png, ...)")
        names += [os.fsencode(f"{each}/{picture}") for picture in pictures]
        counts.append(len(pictures))
    if not names:
        raise BadInput(f"{folder}: no folder of a class in it; expected {folder}/CLASS/PICTURE.jpg (or .png, ...)")
    labels = torch.from_numpy(np.repeat(np.arange(len(classes)), counts)).long()
    return FileSet(folder, _as_names(names), labels, classes, view, name)


def picture_names(folder: Path) -> list[str]:
    """The names of the pictures in a folder, sorted; hidden files are skipped."""
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.name[entry.name.rfind(".") :].lower() in PICTURES and entry.name[0] != "." and entry.is_file()
    )


def _as_names(names: list[bytes]) -> Names:
    return np.array(names, dtype=np.bytes_)
