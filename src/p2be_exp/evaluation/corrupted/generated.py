"""Corrupted images made by this package: read from a set made earlier, the rest generated on the fly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2be_exp.corruptions.digests import file_digest
from p2be_exp.corruptions.names import SEVERITIES
from p2be_exp.corruptions.published import published_md5, reproduces
from p2be_exp.corruptions.store import MANIFEST, StoredSet
from p2be_exp.data.batch import Part
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.condition_loader import ConditionLoader, ImagesOf
from p2be_exp.evaluation.measures import Plan
from p2be_exp.system.threads import usable_cpus

if TYPE_CHECKING:
    from p2be_exp.data import ImageDataModule
    from p2be_exp.data.files import AnySet


from p2be_exp.evaluation.corrupted.images import CorruptedImages
from p2be_exp.evaluation.corrupted.stored import condition_loader_of, one_image, stored_images


class GeneratedImages(CorruptedImages):
    """Corrupted images made by this package: read from a set where it has them, the rest generated on the fly.

    A set made by an earlier version of the generator is read and reported as such; nothing is added to it on the fly.

    Args:
        dataset: name of the data set.
        names, severities: the requested corruptions and severities.
        seed: seed for the corruptions.
        folder: a set made by ``python -m p2be_exp.corruptions make``, if any.
        frost_dir: where frost's textures are; None for those of the installed ``imagecorruptions``, if it is.
        workers: threads; None for one per core.

    Raises:
        BadInput: the set in the folder is of another data set or seed, or published; it was made by an earlier version
            of the generator and lacks some of the requested images; textures cannot be read.
    """

    def __init__(
        self,
        dataset: str,
        names: tuple[str, ...],
        severities: tuple[int, ...],
        seed: int,
        folder: Path | None = None,
        frost_dir: Path | None = None,
        workers: int | None = None,
    ) -> None:
        from p2be_exp.corruptions.make import GENERATOR_VERSION
        from p2be_exp.corruptions.textures import find_textures

        self.seed = seed
        self.stored = None if folder is None else _generated_set(folder, dataset, seed)
        self.version = GENERATOR_VERSION if self.stored is None else _manifest(self.stored)["generator_version"]
        earlier = self.version != GENERATOR_VERSION
        if earlier and self.stored is not None:
            _check_complete(self.stored, names, severities)
        find = "frost" in names and not earlier
        self.textures = find_textures(frost_dir, key="corruption.frost_dir") if find else None
        self._clean: tuple[AnySet, AnySet] | None = None  # those of the last loader, and on the host
        self._compared = False  # whether the set's picture files have been compared with the data set's
        self._workers = usable_cpus() if workers is None else workers
        has_frost = self.textures is not None or (self.stored is not None and "frost" in self.stored.names)
        why = "not in the folder" if earlier else "no textures; set corruption.frost_dir"
        missing = {} if has_frost or "frost" not in names else {"frost": why}
        identical = tuple(name for name in names if name not in missing and self._is_identical(dataset, name))
        self.plan = Plan("generated", dataset, names, severities, missing, identical)
        if self.stored is not None:
            self.stored.check = self._check_identical

    def settings(self) -> dict[str, Any]:
        return {
            "name": "generated",
            "names": list(self.plan.names),
            "severities": list(self.plan.severities),
            "seed": self.seed,
            "generator_version": self.version,
        }

    def loader(self, name: str, severity: int, data: ImageDataModule) -> ConditionLoader:
        workers = 1 if self._is_stored(name, severity) else self._workers
        return condition_loader_of(self._images_of(name, severity, data), (name, severity), data, workers)

    def picture(self, name: str, severity: int, data: ImageDataModule, position: int) -> NDArray[np.uint8]:
        return one_image(self._images_of(name, severity, data), position)

    def _is_identical(self, dataset: str, name: str) -> bool:
        """Whether the images of a corruption are the published ones.

        For a complete file its digest decides. For a part there is no published digest, and a manifest is no evidence:
        anybody can write one. For images generated on the fly, this version of the generator must be known to reproduce
        the complete file, and this installation must generate a few images identically.
        """
        published = published_md5(dataset, name)
        if published is None:
            return False
        if self.stored is not None and name in self.stored.names:
            return _is_whole(self.stored) and file_digest(self.stored.folder / f"{name}.npy", "md5") == published
        from p2be_exp.corruptions.probe import makes_as_published

        return reproduces(dataset, name, self.version) and makes_as_published(name)

    def _check_identical(self, name: str) -> None:
        """Check, before a block is read, that a file that was reported as the published one still is."""
        if name in self.plan.identical and not self._is_identical(self.plan.dataset, name):
            assert self.stored is not None  # only its files are reported as published
            raise BadInput(f"corruption.dir={self.stored.folder}: {name}.npy has changed since the evaluation began")

    def _is_stored(self, name: str, severity: int) -> bool:
        return self.stored is not None and name in self.stored.names and severity in self.stored.severities

    def _images_of(self, name: str, severity: int, data: ImageDataModule) -> ImagesOf:
        if self.stored is not None and self._is_stored(name, severity):
            images_of = stored_images(self.stored, name, severity, data, "corruption.dir")
            if not self._compared:
                _check_files(self.stored, data)
                self._compared = True
            return images_of
        return self._made(name, severity, data)

    def _made(self, name: str, severity: int, data: ImageDataModule) -> ImagesOf:
        from p2be_exp.corruptions.apply import corrupt

        clean = self._on_host(data.test_set())

        def images_of(positions: Tensor) -> Part:
            part = clean.read(positions)
            if not part.kept.any():
                return part
            corrupted = corrupt(
                part.images.transpose(0, 2, 3, 1),
                name,
                severity,
                dataset=self.plan.dataset,
                indices=clean.indices[positions].numpy()[part.kept],
                seed=self.seed,
                textures=self.textures,
            )
            return part._replace(images=corrupted.transpose(0, 3, 1, 2))

        return images_of

    def _on_host(self, clean: AnySet) -> AnySet:
        """The clean images on the host: of a set on a GPU one copy serves all cells."""
        if self._clean is None or self._clean[0] is not clean:
            self._clean = clean, clean.to(torch.device("cpu"))
        return self._clean[1]


def _generated_set(folder: Path, dataset: str, seed: int) -> StoredSet:
    from p2be_exp.corruptions.make import GENERATOR_VERSION

    if folder.is_dir() and not (folder / MANIFEST).is_file():
        raise BadInput(
            f"corruption.dir={folder}: no manifest.json; use corruption=cifar_c for the published files, "
            "corruption=own for any others"
        )
    stored = StoredSet(folder)
    expected = {"dataset": dataset, "seed": seed}
    for what, value in expected.items():
        if _manifest(stored).get(what) != value:
            found = _manifest(stored).get(what)
            raise BadInput(f"corruption.dir={folder}: made with {what}={found}, expected {value}")
    version = _manifest(stored).get("generator_version")
    if not isinstance(version, int) or not 1 <= version <= GENERATOR_VERSION:
        raise BadInput(
            f"corruption.dir={folder}: made with generator_version={version}, must be between 1 and {GENERATOR_VERSION}"
        )
    return stored


def _check_complete(stored: StoredSet, names: tuple[str, ...], severities: tuple[int, ...]) -> None:
    """Check that a set made by an earlier version of the generator is sufficient: nothing can be added to it.

    Raises:
        BadInput: it lacks some of the requested images. Frost that was left out when it was made may be missing.
    """
    lacking = [name for name in names if name not in stored.names and name not in _manifest(stored).get("left_out", {})]
    lacking += [f"severity {severity}" for severity in severities if severity not in stored.severities]
    if lacking:
        version = _manifest(stored)["generator_version"]
        raise BadInput(
            f"corruption.dir={stored.folder}: made by version {version} of the generator, "
            f"lacks {', '.join(lacking)}, and images of two versions are not mixed; request what it has "
            f"(corruption.names=[{','.join(stored.names)}]), or make a new set"
        )


def _manifest(stored: StoredSet) -> dict[str, Any]:
    """The manifest of a set made by this package, which always has one."""
    assert stored.manifest is not None
    return stored.manifest


def _is_whole(stored: StoredSet) -> bool:
    """Whether a set has every severity of every image of its test set, in their order."""
    every = len(stored) == _manifest(stored).get("images_of_the_data_set") and not stored.unreadable
    return every and stored.severities == SEVERITIES and np.array_equal(stored.indices, np.arange(len(stored)))


def _check_files(stored: StoredSet, data: ImageDataModule) -> None:
    """Check that a set made from picture files was made from those of the data set, cropped in the same way."""
    for what, expected in data.fingerprint(torch.from_numpy(stored.indices)).items():
        found = _manifest(stored).get(what)
        if found != expected:
            files = f"not made from the pictures of {data.name}'s test set (their names or labels differ)"
            reason = files if what == "test_files" else f"made with {what}={found}, expected {expected}"
            raise BadInput(f"corruption.dir={stored.folder}: {reason}")
