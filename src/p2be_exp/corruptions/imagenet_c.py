"""ImageNet-C as published: ``CORRUPTION/SEVERITY/WNID/NAME.JPEG``, decoded in worker processes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Set
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from p2be_exp.corruptions.images import CorruptedImages
from p2be_exp.corruptions.measures import Plan
from p2be_exp.corruptions.names import ALL
from p2be_exp.corruptions.parallel import cores
from p2be_exp.corruptions.source import resize_and_crop
from p2be_exp.data import Batch
from p2be_exp.data.loader import rank_share
from p2be_exp.errors import BadInput

if TYPE_CHECKING:
    from p2be_exp.data import ImageDataModule

SIDE = 224
RESIZED = {"center": None, "resize": 256}
"""``crop=center`` cuts 224 x 224 out of the middle, as Hendrycks' test.py; ``resize`` scales the shorter side to 256
first, as the reference code of AugMix: it enlarges the images, which are 224 x 224 already."""


class OfficialImageNetC(CorruptedImages):
    """ImageNet-C in its folder, or a part of it.

    Args:
        folder: holds a folder a corruption.
        names, severities: what is wanted.
        crop: ``center`` or ``resize``, see :data:`RESIZED`.
        workers: processes that decode; None for one a core.
        key: the option that named the folder.

    Raises:
        BadInput: no such folder; no corruption in it; a severity, or a class that one cell has and another lacks. When
            a cell is read: an image that another cell has and this one lacks, or that is damaged.
    """

    def __init__(
        self,
        folder: Path,
        names: tuple[str, ...],
        severities: tuple[int, ...],
        crop: str = "center",
        workers: int | None = None,
        key: str = "corruption.dir",
    ) -> None:
        self.folder, self.crop, self._key = Path(folder), crop, key
        self._images: frozenset[str] | None = None
        self._workers = cores() if workers is None else workers
        if not self.folder.is_dir():
            raise BadInput(f"{key}={folder}: no such folder")
        there = [name for name in names if (self.folder / name).is_dir()]
        if not there:
            raise BadInput(f"{key}={folder}: no corruption in it; wanted are folders like {ALL[0]}/1/n01440764")
        missing = {name: "not in the folder" for name in names if name not in there}
        self.plan = Plan("official", "imagenet", names, severities, missing)
        first, *others = self.plan.cells
        self._classes = self._class_folders(*first)
        for cell in others:
            self._same(self._classes, self._class_folders(*cell), cell, "class folders")

    def settings(self) -> dict[str, Any]:
        return {
            "name": "imagenet_c",
            "names": list(self.plan.names),
            "severities": list(self.plan.severities),
            "crop": self.crop,
        }

    def loader(self, name: str, severity: int, data: ImageDataModule) -> DecodedLoader:
        clean = data.test_set()
        if unknown := sorted(self._classes - set(data.classes)):
            raise BadInput(f"{self._key}={self.folder}: class {unknown[0]} is none of {data.name}'s")
        device, rank, world_size = data.placement()
        return DecodedLoader(
            partial(self._files, name, severity, data),
            clean.labels.tolist(),
            clean.indices.tolist(),
            data.eval_batch_size,
            resized=RESIZED[self.crop],
            device=device,
            workers=self._workers,
            rank=rank,
            world_size=world_size,
        )

    def picture(self, name: str, severity: int, data: ImageDataModule, place: int) -> np.ndarray:
        return decode(self._files(name, severity, data)[place], RESIZED[self.crop])

    def _files(self, name: str, severity: int, data: ImageDataModule) -> list[Path]:
        """The files of a cell, listed when its turn comes: a whole ImageNet-C has millions."""
        clean, images = data.test_set(), self._listing(name, severity)
        indices, labels = clean.indices.tolist(), clean.labels.tolist()
        if max(indices) < len(images):
            chosen = [images[index] for index in indices]
            if [data.classes[label] for label in labels] == [image.split("/")[0] for image in chosen]:
                return [self.folder / name / str(severity) / image for image in chosen]
        raise BadInput(
            f"{self._key}={self.folder}: {name}/{severity} has {len(images)} images, "
            f"other ones than {data.name}'s test set"
        )

    def _class_folders(self, name: str, severity: int) -> set[str]:
        folder = self.folder / name / str(severity)
        if not folder.is_dir():
            raise BadInput(f"{self._key}={self.folder}: {name}/{severity} is missing")
        classes = {entry.name for entry in os.scandir(folder) if entry.is_dir()}
        if not classes:
            raise BadInput(f"{self._key}={self.folder}: {name}/{severity} has no folder of a class (WNID/*.JPEG)")
        return classes

    def _listing(self, name: str, severity: int) -> list[str]:
        """``WNID/NAME`` of every image of a cell, in the order of ImageNet's validation images by class and name."""
        folder = self.folder / name / str(severity)
        images = sorted(f"{path.parent.name}/{path.name}" for path in folder.glob("*/*.JPEG"))
        if self._images is None:
            self._images = frozenset(images)
        self._same(self._images, set(images), (name, severity), "images")
        return images

    def _same(self, one: Set[str], other: Set[str], cell: tuple[str, int], what: str) -> None:
        if different := sorted(one ^ other):
            raise BadInput(
                f"{self._key}={self.folder}: {cell[0]}/{cell[1]} has other {what} than the cells before it "
                f"({len(different)} differ, {different[0]} first)"
            )


class DecodedLoader:
    """Batches of image files, each image once over all ranks (see :class:`~p2be_exp.data.ResidentLoader`).

    Args:
        files: lists the image files; asked when the first batch is.
        labels: of each image.
        indices: of each, its position in the data set as published.
        batch_size: images in a global batch, over all ranks.
        resized: scale the shorter side to so many pixels first; None does not.
        device: where batches are wanted.
        workers: processes that decode; 0 decodes in this one.
        rank, world_size: this process among those that share each batch.
    """

    def __init__(
        self,
        files: Callable[[], list[Path]],
        labels: list[int],
        indices: list[int],
        batch_size: int,
        *,
        resized: int | None,
        device: torch.device,
        workers: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.files, self.labels, self.indices = files, torch.tensor(labels), torch.tensor(indices)
        self.batch_size = batch_size
        self.resized, self.device, self.workers = resized, device, workers
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        """Number of global batches."""
        return math.ceil(len(self.labels) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        shares = [self._share(number) for number in range(len(self))]
        decoded = DataLoader(
            _Files(self.files(), self.resized),
            collate_fn=_stacked,
            batch_sampler=[places for places, _, _ in shares],
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
        )
        for (places, count, global_count), images in zip(shares, decoded, strict=True):
            if isinstance(images, str):
                raise BadInput(images)
            yield Batch(
                images.to(self.device, non_blocking=True),
                self.labels[places].to(self.device),
                self.indices[places].to(self.device),
                count=count,
                global_count=global_count,
                scale=count * self.world_size / global_count,
            )

    def _share(self, number: int) -> tuple[list[int], int, int]:
        first = number * self.batch_size
        global_count = min(self.batch_size, len(self.labels) - first)
        start, stop = rank_share(global_count, self.rank, self.world_size)
        return list(range(first + start, first + max(stop, start + 1))), stop - start, global_count


class _Files(Dataset):
    def __init__(self, files: list[Path], resized: int | None) -> None:
        self.files, self.resized = files, resized

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> Tensor | str:
        try:
            return torch.from_numpy(decode(self.files[place], self.resized).transpose(2, 0, 1).copy())
        except BadInput as error:
            return str(error)  # an error raised in a worker process would arrive with its traceback as the message


def _stacked(images: list[Tensor | str]) -> Tensor | str:
    return next((each for each in images if isinstance(each, str)), None) or torch.stack(images)


def decode(file: Path, resized: int | None = None) -> np.ndarray:
    """One image as uint8 ``(224, 224, 3)``.

    Raises:
        BadInput: the file is no image that can be decoded whole, or is too small.
    """
    try:
        with Image.open(file) as picture:
            picture = picture.convert("RGB")
    except OSError as error:
        raise BadInput(f"{file}: truncated, or not a JPEG ({error})") from error
    if resized is None and min(picture.size) < SIDE:
        raise BadInput(f"{file}: {picture.size[0]}x{picture.size[1]}, at least {SIDE}x{SIDE} is needed")
    return np.asarray(resize_and_crop(picture, SIDE, min(picture.size) if resized is None else resized))
