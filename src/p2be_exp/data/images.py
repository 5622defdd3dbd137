"""An image set: images as levels, their labels, and which image of the data set each one is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from p2be_exp.data.batch import Part
from p2be_exp.errors import BadInput


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, checked when they are made.

    Args:
        images: uint8 `(N, 3, H, W)`, levels 0..255, N at least 1.
        labels: int64 `(N,)`, each a position in `classes`.
        classes: the names of the classes.
        name: what an error message calls these images: a data set or a file.
        indices: int64 `(N,)`, the position of each image in the data set as published. It stays with the
            image through `subset`, so that random numbers and results keep their image when only a part
            of a data set is used. Default: 0..N-1.

    Raises:
        BadInput: a tensor has another type or shape, or a label is outside the classes.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str = "images"
    indices: Tensor = field(default=None)  # type: ignore[assignment]  # filled in below: it needs len(images)

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise BadInput(f"{self.name}: images must be uint8 (N, 3, H, W), found {_describe(self.images)}")
        if len(self) == 0:
            raise BadInput(f"{self.name}: no images, at least one is needed")
        if self.indices is None:
            object.__setattr__(self, "indices", torch.arange(len(self), device=self.images.device))
        check_numbers(self.name, len(self), self.labels, self.indices, self.num_classes)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def device(self) -> torch.device:
        return self.images.device

    @property
    def num_bytes(self) -> int:
        """Memory of the images in bytes."""
        return self.images.nbytes

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return self.images.shape[2], self.images.shape[3]

    def subset(self, positions: Tensor | Sequence[int]) -> ImageSet:
        """The images at these positions of this set, in the order of `positions`; a copy."""
        positions = torch.as_tensor(positions, dtype=torch.int64, device=self.device)
        images, labels, indices = (t.index_select(0, positions) for t in self._tensors())
        return ImageSet(images, labels, self.classes, self.name, indices)

    def to(self, device: torch.device) -> ImageSet:
        """The same images on another device."""
        images, labels, indices = (t.to(device) for t in self._tensors())
        return ImageSet(images, labels, self.classes, self.name, indices)

    def read(self, positions: Tensor) -> Part:
        """The images at some positions; the set is on the host."""
        return Part.whole(self.images.numpy()[positions.numpy()])

    def pictures(self, positions: Tensor) -> Tensor:
        """The images at some positions, uint8 `(n, 3, H, W)`, where the set is."""
        return self.images[positions.to(self.device)]

    def first(self, n: int) -> ImageSet:
        """The first n images."""
        return self.subset(range(min(n, len(self))))

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.images, self.labels, self.indices


def check_numbers(name: str, n: int, labels: Tensor, indices: Tensor, num_classes: int) -> None:
    """Check what an image set has beside its n images.

    Raises:
        BadInput: labels or indices are not int64 `(n,)`, or a label is outside the classes.
    """
    for what, tensor in (("labels", labels), ("indices", indices)):
        if tensor.dtype != torch.int64 or tensor.shape != (n,):
            raise BadInput(f"{name}: {what} must be int64 ({n},), found {_describe(tensor)}")
    low, high = (int(bound) for bound in labels.aminmax())
    if low < 0 or high >= num_classes:
        raise BadInput(f"{name}: labels from {low} to {high}, must be between 0 and {num_classes - 1}")


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
