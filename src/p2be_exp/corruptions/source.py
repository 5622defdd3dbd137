"""Clean images to make a -C set of: the test images of a data set, or the pictures in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from p2be_exp.data.decoding import resize_and_crop
from p2be_exp.data.files import FileSet
from p2be_exp.errors import BadInput

if TYPE_CHECKING:
    from p2be_exp.data.registry import AnySet

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff"}


class ImageSource(Protocol):
    """Labelled images that can be read piece by piece.

    Attributes:
        name: of the data set; part of every random number.
        labels: ``(N,)`` integers.
        indices: ``(N,)`` integers, the position of each image in its data set; part of every random number.
        total: number of images of the data set, of which these are all or some.
        size: height and width in pixels.
        fingerprint: of picture files of a data set: what tells them from others under the same name, for the manifest
            (see :meth:`~p2be_exp.data.FileSet.fingerprint`). Else empty.
    """

    name: str
    labels: NDArray[np.integer]
    indices: NDArray[np.int64]
    total: int
    size: tuple[int, int]
    fingerprint: dict[str, Any]

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Images ``start`` to ``stop - 1`` of these, uint8 ``(B, H, W, 3)``; safe in several threads."""
        ...


class DatasetSource:
    """The test images of one of the project's data sets (see :class:`ImageSource`).

    Args:
        name: of the data set.
        images: all or some of its test images, on the host or in their files.
        total: number of its test images.

    Raises:
        BadInput: when reading: a file that is damaged.
    """

    def __init__(self, name: str, images: AnySet, total: int) -> None:
        self.name = name
        self.total = total
        self.labels = images.labels.numpy()
        self.indices = images.indices.numpy()
        self.size = images.size
        self.fingerprint = images.fingerprint() if isinstance(images, FileSet) else {}
        self._images = images

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        images = self._images.pictures(torch.arange(start, min(stop, len(self._images))))
        return np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1))


class FolderSource:
    """The pictures of a folder, ``FOLDER/CLASS/PICTURE``; pictures directly in the folder are one class.

    Classes and pictures are in the order of their names. The name of the data set is the folder's.

    Args:
        folder: where they are.
        size: side of the square to make of every picture: its shorter side is scaled to ``size * 8 / 7`` and the
            middle cut out, as ImageNet-C has it (256 and 224). None: as they are, which have to be of one size.
        limit: only the first so many.

    Raises:
        BadInput: no such folder, no picture in it, pictures of several sizes; when reading: one that is damaged.
    """

    def __init__(self, folder: Path, size: int | None = None, limit: int | None = None) -> None:
        self.folder, self._side = Path(folder), size
        if not self.folder.is_dir():
            raise BadInput(f"folder={folder}: no such folder")
        self.classes = sorted(path.name for path in self.folder.iterdir() if path.is_dir())
        homes = [self.folder / name for name in self.classes] if self.classes else [self.folder]
        found = [(path, label) for label, home in enumerate(homes) for path in _pictures(home)]
        if not found:
            raise BadInput(f"folder={folder}: no picture in it; wanted is FOLDER/CLASS/PICTURE.png (or .jpg, ...)")
        self.name, self.total = self.folder.resolve().name, len(found)
        if limit is not None and limit > len(found):
            raise BadInput(f"limit_test={limit}: allowed are 1 to {len(found)} (there are {len(found)} pictures)")
        self._paths = [path for path, _ in found[:limit]]
        self.labels = np.array([label for _, label in found[:limit]])
        self.indices = np.arange(len(self._paths))
        self.size = (size, size) if size is not None else self._common_size()
        self.fingerprint: dict[str, Any] = {}

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        return np.stack([self._picture(path) for path in self._paths[start:stop]])

    def _common_size(self) -> tuple[int, int]:
        first = _opened(self._paths[0]).size
        for path in self._paths:
            if (size := _opened(path).size) != first:
                one, other = (f"{width}x{height}" for width, height in (first, size))
                raise BadInput(f"folder={self.folder}: {path.name} is {other}, the first picture {one}; give size=")
        return first[1], first[0]

    def _picture(self, path: Path) -> NDArray[np.uint8]:
        picture = _opened(path)
        try:
            picture = picture.convert("RGB")
        except OSError as error:
            raise BadInput(f"{path}: damaged ({error})") from error
        return np.asarray(picture if self._side is None else resize_and_crop(picture, self._side))


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, UnidentifiedImageError) as error:
        raise BadInput(f"{path}: not a picture that can be read") from error
