"""Corrupted images read from the files of a folder in the layout of CIFAR-10-C."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2be_exp.corruptions.store import StoredSet
from p2be_exp.data.batch import Part
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.condition_loader import ConditionLoader, ImagesOf

if TYPE_CHECKING:
    from p2be_exp.data import ImageDataModule


from p2be_exp.evaluation.corrupted.images import CorruptedImages


class StoredImages(CorruptedImages):
    """The files of a folder in the layout of CIFAR-10-C without a manifest, so not made by this package.

    Args:
        folder: with ``NAME.npy`` and ``labels.npy``.
        names: the requested corruptions.
        key: the option that named the folder.

    Attributes:
        stored: the set.
        missing: the requested corruptions that it lacks, with the reason.

    Raises:
        BadInput: not such a folder; see :class:`~p2be_exp.corruptions.store.StoredSet`.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], key: str) -> None:
        self.stored, self._key = StoredSet(folder, key, names), key
        if self.stored.manifest is not None:
            raise BadInput(f"{key}={folder}: a set made by this package, with a manifest; use corruption=generated")
        self.missing = {name: "not in the folder" for name in names if name not in self.stored.names}

    def loader(self, name: str, severity: int, data: ImageDataModule) -> ConditionLoader:
        return condition_loader_of(
            stored_images(self.stored, name, severity, data, self._key), (name, severity), data, workers=1
        )

    def picture(self, name: str, severity: int, data: ImageDataModule, position: int) -> NDArray[np.uint8]:
        return one_image(stored_images(self.stored, name, severity, data, self._key), position)


def stored_images(stored: StoredSet, name: str, severity: int, data: ImageDataModule, key: str) -> ImagesOf:
    """A reader of the images of one cell of a stored set that correspond to the test images of ``data``.

    Raises:
        BadInput: the stored set lacks some of these images, or their labels or size differ. When a cell is read: it
            does not match the manifest.
    """
    stored.noted(name, severity)
    clean = data.test_set()
    indices, labels = clean.indices.cpu().numpy(), clean.labels.cpu().numpy()
    order = np.argsort(stored.indices)
    positions = np.searchsorted(stored.indices, indices, sorter=order)
    rows = order[np.minimum(positions, len(order) - 1)]
    present = stored.indices[rows] == indices
    if any(index not in stored.unreadable for index in indices[~present].tolist()):
        raise BadInput(f"{key}={stored.folder}: {len(stored)} images per severity, not the test images")
    if (stored.labels[rows] != labels)[present].any():
        raise BadInput(f"{key}={stored.folder}: labels.npy does not have the labels of {data.name}'s test set")
    if stored.size != clean.size:
        found, expected = ("x".join(map(str, size)) for size in (stored.size, clean.size))
        raise BadInput(f"{key}={stored.folder}: images of {found}, {data.name} has {expected}")

    def images_of(positions: Tensor) -> Part:
        kept = present[positions.numpy()]
        lacking = (stored.unreadable[index] for index in indices[positions.numpy()[~kept]].tolist())
        return Part(
            stored.block(name, severity)[rows[positions.numpy()[kept]]].transpose(0, 3, 1, 2),
            kept,
            tuple(each._replace(reason=f"not in the set: {each.reason}") for each in lacking),
        )

    return images_of


def one_image(images_of: ImagesOf, position: int) -> NDArray[np.uint8]:
    images = images_of(torch.tensor([position])).images
    image = images[0] if len(images) else np.zeros(images.shape[1:], np.uint8)  # only displayed, not measured
    return image.transpose(1, 2, 0)


def condition_loader_of(
    images_of: ImagesOf, cell: tuple[str, int], data: ImageDataModule, workers: int
) -> ConditionLoader:
    clean = data.test_set()
    device, rank, world_size = data.placement()
    return ConditionLoader(
        images_of,
        f"{clean.name}, corruption/{cell[0]}/{cell[1]}",
        clean.labels.cpu(),
        clean.indices.cpu(),
        data.eval_batch_size,
        device=device,
        workers=workers,
        rank=rank,
        world_size=world_size,
    )
