"""Clean images to make a -C set of: the test images of a data set, or the pictures in a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from p2be_exp.data.batch import Part, Unreadable
from p2be_exp.data.decoding import DecodingError, TestView, WholeView, open_picture, picture_size
from p2be_exp.data.files import FileSet
from p2be_exp.data.listing import class_names, listed, picture_names
from p2be_exp.data.parts import tell_left_out
from p2be_exp.data.picture_sizes import resized_for
from p2be_exp.errors import BadInput
from p2be_exp.system.parallel import in_order

if TYPE_CHECKING:
    from p2be_exp.data.files import AnySet

CHUNK_BYTES = 1_500_000
"""Images that one thread works on at a time, in bytes; one image at least."""


def at_a_time(size: tuple[int, int]) -> int:
    """Number of images, of this height and width, that one thread works on at a time."""
    return max(1, CHUNK_BYTES // (size[0] * size[1] * 3))


class LeftOut(NamedTuple):
    """An image of a data set that a -C set of it lacks, since it cannot be read."""

    index: int  # type: ignore[assignment]  # its position in the data set, not the method of a tuple
    file: str
    reason: str


class ImageSource(Protocol):
    """Labelled images that can be read piece by piece.

    Attributes:
        name: of the data set; part of every random number.
        labels: ``(N,)`` integers.
        classes: the names of the classes, in the order of their labels.
        indices: ``(N,)`` integers, the position of each image in its data set; part of every random number.
        total: number of images of the data set, of which these are all or some.
        size: height and width in pixels.
        fingerprint: of picture files: what distinguishes them from others of the same name, for the manifest
            (see :meth:`~p2be_exp.data.FileSet.fingerprint`). Else empty.
        left_out: images that belong to these and cannot be read.
    """

    name: str
    labels: NDArray[np.integer]
    classes: tuple[str, ...]
    indices: NDArray[np.int64]
    total: int
    size: tuple[int, int]
    fingerprint: dict[str, Any]
    left_out: tuple[LeftOut, ...]

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Images ``start`` to ``stop - 1`` of these, uint8 ``(B, H, W, 3)``; safe in several threads."""
        ...


class DatasetSource:
    """The test images of one of the project's data sets (see :class:`ImageSource`).

    Args:
        name: of the data set.
        images: all or some of its test images, on the host or in their files.
        total: number of its test images.
        left_out: images that belong to these and cannot be read.

    Raises:
        BadInput: when reading: a file that is damaged (see :meth:`readable`).
    """

    def __init__(self, name: str, images: AnySet, total: int, left_out: tuple[LeftOut, ...] = ()) -> None:
        self.name = name
        self.total = total
        self.labels = images.labels.numpy()
        self.classes = images.classes
        self.indices = images.indices.numpy()
        self.size = images.size
        self.fingerprint = images.fingerprint() if isinstance(images, FileSet) else {}
        self.left_out = left_out
        self._images = images

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        images = self._images.pictures(torch.arange(start, min(stop, len(self._images))))
        return np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1))

    def readable(self, workers: int) -> DatasetSource:
        """These images without those that cannot be read, which are reported as an evaluation reports them.

        Picture files are all decoded once for it, so that nothing is begun that has to end at a damaged one.

        Args:
            workers: threads that decode.

        Raises:
            BadInput: none can be read.
        """
        if not isinstance(self._images, FileSet):
            return self
        kept: list[int] = []
        unreadable: list[Unreadable] = []
        chunks = torch.arange(len(self._images)).split(at_a_time(self.size))
        for chunk, (mask, faults) in zip(chunks, in_order(self._look, chunks, workers), strict=True):
            kept += chunk[torch.from_numpy(mask)].tolist()
            unreadable += faults
        if not unreadable:
            return self
        tell_left_out(self._images.name, unreadable, len(self._images))
        lost = np.setdiff1d(np.arange(len(self._images)), kept)
        left_out = zip(self.indices[lost].tolist(), unreadable, strict=True)
        reported = tuple(LeftOut(index, each.file, each.reason) for index, each in left_out)
        return DatasetSource(self.name, self._images.subset(kept), self.total, reported)

    def _look(self, positions: torch.Tensor) -> tuple[NDArray[np.bool_], tuple[Unreadable, ...]]:
        part: Part = self._images.read(positions)
        return part.kept, part.unreadable


class FolderSource(DatasetSource):
    """The pictures of a folder, ``FOLDER/CLASS/PICTURE``; pictures in a folder without folders are one class.

    They are listed as ``dataset=image_folder`` lists a part (:func:`~p2be_exp.data.listing.listed`), so that label
    and number of a picture are the same in both. The name of the data set is the folder's.

    Args:
        folder: where they are.
        size: side of the square to make of every picture as ``dataset.image_size`` does: its shorter side is scaled
            (:func:`~p2be_exp.data.picture_sizes.resized_for`) and the middle cut out, as ImageNet-C has it (256 and
            224). None: as they are, which have to be of one size.
        limit: only the first so many.

    Raises:
        BadInput: no such folder, no picture in it, a class without a picture, pictures of several sizes; when reading:
            one that is damaged (see :meth:`readable`).
    """

    def __init__(self, folder: Path, size: int | None = None, limit: int | None = None) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise BadInput(f"folder={folder}: no such folder")
        name, classes, parent = folder.resolve().name, class_names(folder), folder
        if not classes:
            if not picture_names(folder):
                raise BadInput(f"folder={folder}: no picture in it; expected FOLDER/CLASS/PICTURE.png (or .jpg, ...)")
            parent, classes = folder.resolve().parent, (name,)
        view: WholeView | TestView = WholeView(0, 0) if size is None else TestView(size, resized_for(size))
        files = listed(parent, classes, view, name)
        total = len(files)
        if limit is not None and limit > total:
            raise BadInput(f"limit_test={limit}: must be between 1 and {total} (there are {total} pictures)")
        files = files if limit is None else files.subset(range(limit))
        super().__init__(name, files if size is not None else _of_one_size(files, folder), total)


def _of_one_size(files: FileSet, folder: Path) -> FileSet:
    """The pictures as they are; by their headers, of one size."""
    first: tuple[int, int] | None = None
    unreadable: list[Unreadable] = []
    for name in map(os.fsdecode, files.files(torch.arange(len(files))).tolist()):
        try:
            size = picture_size(files.folder / name)
            if size == first:
                continue
            open_picture(files.folder / name)
        except DecodingError as error:
            unreadable.append(Unreadable(name, str(error)))
            continue
        if first is not None:
            one, other = (f"{width}x{height}" for height, width in (first, size))
            raise BadInput(f"folder={folder}: {name} is {other}, the first picture {one}; give size=")
        first = size
    if first is None:
        tell_left_out(files.name, unreadable, len(files))
    assert first is not None  # else tell_left_out has raised
    return files.seen_as(WholeView(*first))
