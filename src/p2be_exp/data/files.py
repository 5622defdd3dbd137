"""A set of image files: their paths, labels and numbers; nothing is decoded until images are asked for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2be_exp.augment.resized_crop import crop_box
from p2be_exp.data.batch import Part, Unreadable
from p2be_exp.data.decoding import DecodingError, TestView, WholeView, cropped_levels, open_picture, test_levels
from p2be_exp.data.images import ImageSet, check_numbers
from p2be_exp.errors import BadInput

Names = NDArray[np.bytes_]
"""Paths of files below their set's folder, `(N,)`: a quarter of the memory of strings, and shared by processes."""


@dataclass(frozen=True, eq=False)
class FileSet:
    """Labelled image files, checked when the set is made.

    Args:
        folder: what the names are below.
        names: of the files, `(N,)`; or what lists them, which is called when the first image is asked for.
        labels: int64 `(N,)`, each a position in `classes`.
        classes: the names of the classes.
        view: what of a picture is tested on.
        name: what an error message calls these images.
        indices: int64 `(N,)`, the position of each image in the data set as published. Default: 0..N-1.

    Raises:
        BadInput: no image; or labels or indices of another type, shape or range.
    """

    folder: Path
    names: Names | Callable[[], Names]
    labels: Tensor
    classes: tuple[str, ...]
    view: TestView | WholeView
    name: str = "images"
    indices: Tensor = field(default=None)  # type: ignore[assignment]  # filled in below: it needs len(labels)

    def __post_init__(self) -> None:
        if len(self) == 0:
            raise BadInput(f"{self.name}: no images, at least one is needed")
        if self.indices is None:
            object.__setattr__(self, "indices", torch.arange(len(self)))
        check_numbers(self.name, len(self), self.labels, self.indices, self.num_classes)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.view.shape

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def files(self, positions: Tensor) -> Names:
        """Names of the files at some positions."""
        if callable(self.names):
            object.__setattr__(self, "names", self.names())
        return cast("Names", self.names)[positions.numpy()]

    def digest(self) -> str:
        """SHA-256 of the classes, and of the name and label of each file, as hexadecimal digits."""
        digest = hashlib.sha256("\n".join(self.classes).encode(errors="surrogateescape"))  # as their folders' bytes
        for name, label in zip(self.files(torch.arange(len(self))).tolist(), self.labels.tolist(), strict=True):
            digest.update(b"\n%d %b" % (label, name))
        return digest.hexdigest()

    def fingerprint(self) -> dict[str, Any]:
        """What distinguishes these images from others of the same name: the files, and the view of each picture."""
        return {"test_files": self.digest(), **self.view.settings()}

    def subset(self, positions: Tensor | Sequence[int]) -> FileSet:
        """The files at these positions of this set, in the order of `positions`."""
        positions = torch.as_tensor(positions, dtype=torch.int64)
        labels, indices = self.labels[positions], self.indices[positions]
        return FileSet(self.folder, self.files(positions), labels, self.classes, self.view, self.name, indices)

    def seen_as(self, view: TestView | WholeView) -> FileSet:
        """The same files in another view."""
        return replace(self, view=view)

    def to(self, device: torch.device) -> FileSet:
        """Itself: files stay where they are."""
        return self

    def read(self, positions: Tensor) -> Part:
        """The images at some positions as they are tested on, decoded in this process; safe in several threads."""
        return decode(self.folder, self.files(positions), self.view)

    def pictures(self, positions: Tensor) -> Tensor:
        """The images at some positions, uint8 `(n, 3, S, S)`.

        Raises:
            BadInput: one cannot be read.
        """
        part = self.read(positions)
        if part.unreadable:
            raise BadInput(unreadable_line(self.folder, part.unreadable[0]))
        return torch.from_numpy(part.images)

    def first(self, n: int) -> ImageSet:
        """The first n images that can be read, decoded."""
        positions: list[Tensor] = []
        images: list[Tensor] = []
        start = 0
        while (missing := n - sum(map(len, positions))) and start < len(self):
            wanted = torch.arange(start, min(start + missing, len(self)))
            part, start = self.read(wanted), start + len(wanted)
            positions.append(wanted[torch.from_numpy(part.kept)])
            images.append(torch.from_numpy(part.images))
        kept = torch.cat(positions)
        return ImageSet(torch.cat(images), self.labels[kept], self.classes, self.name, self.indices[kept])


AnySet = ImageSet | FileSet
"""The images of a data set: in memory, or in their files."""


def decode(folder: Path, names: Names, view: TestView | WholeView, draws: NDArray[np.float64] | None = None) -> Part:
    """Decode image files; those that cannot be are left out.

    Args:
        folder: what the names are below.
        names: of n files.
        view: what of a picture is tested on; its side is that of the training images, too.
        draws: `(n, DRAWS)`: a random resized crop and flip of each, for training; None: as tested on.
    """
    images = np.empty((len(names), 3, *view.shape), dtype=np.uint8)
    kept, unreadable = np.zeros(len(names), dtype=bool), []
    for position, name in enumerate(names):
        try:
            picture = open_picture(folder / os.fsdecode(name))
            if draws is None:
                levels = test_levels(picture, view)
            else:
                box = crop_box(draws[position].tolist(), picture.height, picture.width)
                levels = cropped_levels(picture, box, view.shape[0])
        except DecodingError as error:
            unreadable.append(Unreadable(os.fsdecode(name), str(error)))
            continue
        images[int(kept.sum())] = levels.transpose(2, 0, 1)
        kept[position] = True
    return Part(images[: int(kept.sum())], kept, tuple(unreadable))


def unreadable_line(folder: Path, which: Unreadable) -> str:
    """The error message for a file that cannot be left out."""
    return f"{folder / which.file}: cannot be read ({which.reason})"
