"""ImageNet-C as published: ``CORRUPTION/SEVERITY/WNID/NAME.JPEG``, decoded in worker processes.

Digests of its files are not known, so results say "given as ImageNet-C, not verified".
"""

from __future__ import annotations

import os
from collections.abc import Set
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from p2be_exp.corruptions.names import ALL
from p2be_exp.data.decoding import TestView
from p2be_exp.data.file_loader import FileLoader
from p2be_exp.data.files import FileSet, Names
from p2be_exp.data.listing import class_names, picture_names
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.images import CorruptedImages
from p2be_exp.evaluation.measures import Plan
from p2be_exp.system.threads import usable_cpus

if TYPE_CHECKING:
    from p2be_exp.data import ImageDataModule
    from p2be_exp.data.files import AnySet

SIDE = 224
RESIZED = {"center": None, "resize": 256}
"""``crop=center`` takes the central 224 x 224 pixels, as Hendrycks' test.py; ``resize`` scales the shorter side to 256
first, as AugMix's reference code: it enlarges the images, which are 224 x 224 already. For a network of another
``dataset.image_size`` the crop is scaled to that size."""


class OfficialImageNetC(CorruptedImages):
    """ImageNet-C, or a part of it, in its folder.

    Args:
        folder: holds one folder per corruption.
        names, severities: the requested corruptions and severities.
        crop: ``center`` or ``resize``, see :data:`RESIZED`.
        workers: processes that decode; None for one per core.
        key: the option that named the folder.

    Raises:
        BadInput: no such folder; no corruption in it; a missing severity, or a class missing from a cell. When the
            first loader is made: the images of its cell are not those of the test set. When a cell is read: an image is
            missing from it or damaged.
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
        self._workers = usable_cpus() if workers is None else workers
        if not self.folder.is_dir():
            raise BadInput(f"{key}={folder}: no such folder")
        present = [name for name in names if (self.folder / name).is_dir()]
        if not present:
            raise BadInput(f"{key}={folder}: no corruption in it; expected folders like {ALL[0]}/1/n01440764")
        missing = {name: "not in the folder" for name in names if name not in present}
        self.plan = Plan("given", "imagenet", names, severities, missing)
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

    def loader(self, name: str, severity: int, data: ImageDataModule) -> FileLoader:
        if unknown := sorted(self._classes - set(data.classes)):
            raise BadInput(f"{self._key}={self.folder}: class {unknown[0]} is not in {data.name}")
        device, rank, world_size = data.placement()
        files = self._files(name, severity, data)
        if self._images is None:  # the first cell: report what is wrong with all of them now, not when it is read
            files.files(torch.tensor([0]))
        return FileLoader(
            files,
            data.eval_batch_size,
            shuffle_seed=None,
            device=device,
            workers=self._workers,
            strict=True,  # the cells of a -C set show the same images
            timeout=None if data.folder is None else data.folder.timeout,
            rank=rank,
            world_size=world_size,
        )

    def picture(self, name: str, severity: int, data: ImageDataModule, position: int) -> NDArray[np.uint8]:
        return self._files(name, severity, data).pictures(torch.tensor([position]))[0].permute(1, 2, 0).numpy()

    def _files(self, name: str, severity: int, data: ImageDataModule) -> FileSet:
        clean = data.test_set()
        scaled = None if clean.size == (SIDE, SIDE) else clean.size[0]
        return FileSet(
            self.folder / name / str(severity),
            partial(self._names, name, severity, data),
            clean.labels.cpu(),
            clean.classes,
            TestView(SIDE, RESIZED[self.crop], scaled),
            f"{self._key}={self.folder}: {name}/{severity}",
            clean.indices.cpu(),
        )

    def _names(self, name: str, severity: int, data: ImageDataModule) -> Names:
        """The files of a cell, listed only when they are read: a complete ImageNet-C has millions."""
        clean, images = data.test_set(), self._listing(name, severity)
        indices, labels = clean.indices.tolist(), clean.labels.tolist()
        if max(indices) < len(images):
            chosen = [images[index] for index in indices]
            if [data.classes[label] for label in labels] == [image.split("/")[0] for image in chosen]:
                self._same_names(clean, chosen, (name, severity))
                return np.array([os.fsencode(image) for image in chosen], dtype=np.bytes_)
        raise BadInput(
            f"{self._key}={self.folder}: {name}/{severity} has {len(images)} images, "
            f"not those of {data.name}'s test set"
        )

    def _same_names(self, clean: AnySet, chosen: list[str], cell: tuple[str, int]) -> None:
        """Check that each image has the name of its clean one, as in the published set, apart from the extension."""
        if not isinstance(clean, FileSet):
            return
        names = (os.fsdecode(name) for name in clean.files(torch.arange(len(clean))).tolist())
        for expected, found in zip(names, chosen, strict=True):
            if expected.rpartition(".")[0] != found.rpartition(".")[0]:
                raise BadInput(
                    f"{self._key}={self.folder}: {cell[0]}/{cell[1]} has {found} where {clean.name} has {expected}"
                )

    def _class_folders(self, name: str, severity: int) -> set[str]:
        folder = self.folder / name / str(severity)
        if not folder.is_dir():
            raise BadInput(f"{self._key}={self.folder}: {name}/{severity} is missing")
        classes = set(class_names(folder))
        if not classes:
            raise BadInput(f"{self._key}={self.folder}: {name}/{severity} has no folder of a class (WNID/*.JPEG)")
        return classes

    def _listing(self, name: str, severity: int) -> list[str]:
        """``WNID/NAME`` of every image of a cell, in the order of ImageNet's validation images by class and name."""
        folder = self.folder / name / str(severity)
        images = [f"{wnid}/{image}" for wnid in class_names(folder) for image in picture_names(folder / wnid)]
        if self._images is None:
            self._images = frozenset(images)
        self._same(self._images, set(images), (name, severity), "images")
        return images

    def _same(self, one: Set[str], other: Set[str], cell: tuple[str, int], what: str) -> None:
        if different := sorted(one ^ other):
            raise BadInput(
                f"{self._key}={self.folder}: {cell[0]}/{cell[1]} does not have the {what} of the cells before it "
                f"({len(different)} differ, {different[0]} first)"
            )
