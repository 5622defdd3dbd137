"""Where an evaluation's corrupted images come from: published files, own files, a set made before, made on the fly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2be_exp.config.checks import check_folder
from p2be_exp.system.paths import user_path
from p2be_exp.corruptions.digests import file_digest
from p2be_exp.evaluation.corrupted.condition_loader import ConditionLoader, ImagesOf
from p2be_exp.evaluation.measures import Plan
from p2be_exp.corruptions.names import SEVERITIES, select_names, select_severities
from p2be_exp.corruptions.official import OFFICIAL_FOLDERS, not_published, resolved
from p2be_exp.corruptions.published import ARCHIVES, published_md5, reproduces
from p2be_exp.corruptions.store import MANIFEST, StoredSet
from p2be_exp.data.batch import Part
from p2be_exp.errors import BadInput
from p2be_exp.system.threads import usable_cpus

if TYPE_CHECKING:
    from p2be_exp.data import ImageDataModule


class CorruptedImages(ABC):
    """The corrupted test images of a data set.

    Attributes:
        plan: which there are.
    """

    plan: Plan

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides the images, for the settings of a result; no paths, no numbers of workers."""

    @abstractmethod
    def loader(self, name: str, severity: int, data: ImageDataModule) -> Any:
        """The batches of one cell: the images that ``data`` tests on, corrupted.

        Raises:
            BadInput: the corrupted images are not those of the data set.
        """

    @abstractmethod
    def picture(self, name: str, severity: int, data: ImageDataModule, place: int) -> NDArray[np.uint8]:
        """One image of a cell, ``(H, W, 3)``: the one of the ``place``-th image that ``data`` tests on."""


class StoredImages(CorruptedImages):
    """The files of a folder in the layout of CIFAR-10-C that has no manifest, and so was not made here.

    Args:
        folder: with ``NAME.npy`` and ``labels.npy``.
        names: the corruptions that are wanted.
        key: the option that named the folder.

    Attributes:
        stored: the set.
        missing: those of the names that it lacks, with the reason.

    Raises:
        BadInput: it is no such folder; see :class:`~p2be_exp.corruptions.store.StoredSet`.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], key: str) -> None:
        self.stored, self._key = StoredSet(folder, key, names), key
        if self.stored.manifest is not None:
            raise BadInput(f"{key}={folder}: a set made here, with a manifest; corruption=generated takes it")
        self.missing = {name: "not in the folder" for name in names if name not in self.stored.names}

    def loader(self, name: str, severity: int, data: ImageDataModule) -> ConditionLoader:
        return _loader(stored_images(self.stored, name, severity, data, self._key), (name, severity), data, workers=1)

    def picture(self, name: str, severity: int, data: ImageDataModule, place: int) -> NDArray[np.uint8]:
        return _one(stored_images(self.stored, name, severity, data, self._key), place)


class OfficialCifarC(StoredImages):
    """The published CIFAR-10-C or CIFAR-100-C, read from its folder; each file that is used is verified by its md5.

    Args:
        folder: with ``NAME.npy`` and ``labels.npy``.
        dataset: ``cifar10`` or ``cifar100``.
        names, severities: what is wanted.
        key: the option that named the folder.

    Raises:
        BadInput: it is no such folder (see :class:`~p2be_exp.corruptions.store.StoredSet`), or a file in it is not the
            published one; also when a block of a file is read that has changed since.
    """

    def __init__(
        self, folder: Path, dataset: str, names: tuple[str, ...], severities: tuple[int, ...], key: str
    ) -> None:
        super().__init__(folder, names, key)
        self.plan = Plan("official", dataset, names, severities, self.missing, identical=names)
        self._verify([name for name in names if name not in self.missing])
        self.stored.check = lambda name: self._verify([name])

    def settings(self) -> dict[str, Any]:
        return {
            "name": "cifar_c",
            "names": list(self.plan.names),
            "severities": list(self.plan.severities),
            "verified": "md5",  # older results have none: their files may have been anybody's
        }

    def _verify(self, names: list[str]) -> None:
        folder, dataset = self.stored.folder, self.plan.dataset
        if fault := not_published(folder, dataset, names):
            fetch = f"python -m p2be_exp.corruptions fetch {dataset}"
            again = f"get the archive again ({fetch}), or " if dataset in ARCHIVES else ""
            raise BadInput(f"{self._key}={folder}: {fault}; {again}use corruption=own corruption.dir={folder}")


class GeneratedImages(CorruptedImages):
    """Corrupted images made here: those of a set that was made before where it has them, the rest on the fly.

    A set of an earlier version of the generator is read, and said to be one; nothing is added to it on the fly.

    Args:
        dataset: name of the data set.
        names, severities: what is wanted.
        seed: of the images.
        folder: a set made by ``python -m p2be_exp.corruptions make``; None for none.
        frost_dir: where frost's textures are; None for those of the installed ``imagecorruptions``, if it is.
        workers: threads; None for one a core.

    Raises:
        BadInput: the set in the folder is of another data set or seed, or published; it was made by an earlier version
            of the generator and lacks some of what is wanted; textures that cannot be read.
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
        self.version = GENERATOR_VERSION if self.stored is None else self.stored.manifest["generator_version"]
        earlier = self.version != GENERATOR_VERSION
        if earlier:
            _check_complete(self.stored, names, severities)
        find = "frost" in names and not earlier
        self.textures = find_textures(frost_dir, key="corruption.frost_dir") if find else None
        self._compared = False  # the set's picture files with the data set's
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
        return _loader(self._images_of(name, severity, data), (name, severity), data, workers)

    def picture(self, name: str, severity: int, data: ImageDataModule, place: int) -> NDArray[np.uint8]:
        return _one(self._images_of(name, severity, data), place)

    def _is_identical(self, dataset: str, name: str) -> bool:
        """Whether the images of a corruption are the published ones.

        Of a file that is as whole as the published one its digest says so. Of a part there is no digest, and a manifest
        is no evidence: anybody can write one. Of images made on the fly this version of the generator has to have been
        seen to make the whole file, and this installation has to make a few images as that one did.
        """
        published = published_md5(dataset, name)
        if published is None:
            return False
        if self.stored is not None and name in self.stored.names:
            return _is_whole(self.stored) and file_digest(self.stored.folder / f"{name}.npy", "md5") == published
        from p2be_exp.corruptions.probe import makes_as_published

        return reproduces(dataset, name, self.version) and makes_as_published(name)

    def _check_identical(self, name: str) -> None:
        """Check, before a block is read, that a file that was called the published one still is."""
        if name in self.plan.identical and not self._is_identical(self.plan.dataset, name):
            raise BadInput(f"corruption.dir={self.stored.folder}: {name}.npy has changed since the evaluation began")

    def _is_stored(self, name: str, severity: int) -> bool:
        return self.stored is not None and name in self.stored.names and severity in self.stored.severities

    def _images_of(self, name: str, severity: int, data: ImageDataModule) -> ImagesOf:
        if self._is_stored(name, severity):
            images_of = stored_images(self.stored, name, severity, data, "corruption.dir")
            if not self._compared:
                _check_files(self.stored, data)
                self._compared = True
            return images_of
        return self._made(name, severity, data)

    def _made(self, name: str, severity: int, data: ImageDataModule) -> ImagesOf:
        from p2be_exp.corruptions.apply import corrupt

        clean = data.test_set().to(torch.device("cpu"))

        def images_of(places: Tensor) -> Part:
            part = clean.read(places)
            if not part.kept.any():
                return part
            corrupted = corrupt(
                part.images.transpose(0, 2, 3, 1),
                name,
                severity,
                dataset=self.plan.dataset,
                indices=clean.indices[places].numpy()[part.kept],
                seed=self.seed,
                textures=self.textures,
            )
            return part._replace(images=corrupted.transpose(0, 3, 1, 2))

        return images_of


def corrupted_images(config: dict[str, Any]) -> CorruptedImages | None:
    """The corrupted images that a configuration's ``corruption`` group asks for; None for ``none``.

    Folders are looked into, headers and manifests read; no images.

    Raises:
        BadInput: a folder that is missing or is not what it should be, a source that does not go with the data set, or
            one that has images of none of the corruptions.
    """
    images = _source(config)
    if images is not None and not images.plan.cells:
        plan = images.plan
        reasons = "; ".join(f"{name}: {reason}" for name, reason in plan.left_out.items())
        raise BadInput(f"corruption.names=[{','.join(plan.names)}]: none of it can be measured ({reasons})")
    return images


def _source(config: dict[str, Any]) -> CorruptedImages | None:
    wanted, dataset = config["corruption"], config["dataset"]["name"]
    data_dir = user_path("data_dir", config["data_dir"])
    if wanted["name"] == "none":
        return None
    wanted = resolved(wanted, dataset, data_dir)
    names, severities = select_names(wanted["names"]), select_severities(wanted["severities"])
    if wanted["name"] == "generated":
        folder, frost_dir = (_path(key, wanted[key]) for key in ("dir", "frost_dir"))
        return GeneratedImages(dataset, names, severities, wanted["seed"], folder, frost_dir, wanted["workers"])
    check_folder(wanted)
    folder = _path("dir", wanted["dir"]) or data_dir / OFFICIAL_FOLDERS.get(dataset, "")
    if wanted["name"] == "cifar_c":
        return OfficialCifarC(folder, dataset, names, severities, key="corruption.dir")
    if wanted["name"] == "own":
        from p2be_exp.evaluation.corrupted.own_files import OwnFiles

        return OwnFiles(folder, dataset, names, severities, key="corruption.dir")
    from p2be_exp.evaluation.corrupted.imagenet_c import OfficialImageNetC

    return OfficialImageNetC(folder, names, severities, wanted["crop"], wanted["workers"], key="corruption.dir")


def stored_images(stored: StoredSet, name: str, severity: int, data: ImageDataModule, key: str) -> ImagesOf:
    """Reads the images of one cell of a stored set that belong to the images that ``data`` tests on.

    Raises:
        BadInput: the stored set lacks some of these images, has other labels for them, or images of another size. When
            a cell is read: it is not what the manifest says.
    """
    stored.noted(name, severity)
    clean = data.test_set()
    indices, labels = clean.indices.cpu().numpy(), clean.labels.cpu().numpy()
    order = np.argsort(stored.indices)
    places = np.searchsorted(stored.indices, indices, sorter=order)
    rows = order[np.minimum(places, len(order) - 1)]
    there = stored.indices[rows] == indices
    if any(index not in stored.unreadable for index in indices[~there].tolist()):
        raise BadInput(f"{key}={stored.folder}: {len(stored)} images a severity, not those that are tested on")
    if (stored.labels[rows] != labels)[there].any():
        raise BadInput(f"{key}={stored.folder}: labels.npy has other labels than {data.name}'s test set")
    if stored.size != clean.size:
        found, expected = ("x".join(map(str, size)) for size in (stored.size, clean.size))
        raise BadInput(f"{key}={stored.folder}: images of {found}, {data.name} has {expected}")

    def images_of(places: Tensor) -> Part:
        kept = there[places.numpy()]
        lacking = (stored.unreadable[index] for index in indices[places.numpy()[~kept]].tolist())
        return Part(
            stored.block(name, severity)[rows[places.numpy()[kept]]].transpose(0, 3, 1, 2),
            kept,
            tuple(each._replace(reason=f"not in the set: {each.reason}") for each in lacking),
        )

    return images_of


def _generated_set(folder: Path, dataset: str, seed: int) -> StoredSet:
    from p2be_exp.corruptions.make import GENERATOR_VERSION

    if folder.is_dir() and not (folder / MANIFEST).is_file():
        raise BadInput(
            f"corruption.dir={folder}: no manifest.json; published files go with corruption=cifar_c, "
            "anybody's with corruption=own"
        )
    stored = StoredSet(folder)
    wanted = {"dataset": dataset, "seed": seed}
    for what, value in wanted.items():
        if stored.manifest.get(what) != value:
            found = stored.manifest.get(what)
            raise BadInput(f"corruption.dir={folder}: made with {what}={found}, wanted is {value}")
    version = stored.manifest.get("generator_version")
    if not isinstance(version, int) or not 1 <= version <= GENERATOR_VERSION:
        raise BadInput(
            f"corruption.dir={folder}: made with generator_version={version}, known are 1 to {GENERATOR_VERSION}"
        )
    return stored


def _check_complete(stored: StoredSet, names: tuple[str, ...], severities: tuple[int, ...]) -> None:
    """Check that a set of an earlier version of the generator has what is wanted: nothing can be added to it.

    Raises:
        BadInput: it has not. Frost that was left out when it was made is left out.
    """
    lacking = [name for name in names if name not in stored.names and name not in stored.manifest.get("left_out", {})]
    lacking += [f"severity {severity}" for severity in severities if severity not in stored.severities]
    if lacking:
        raise BadInput(
            f"corruption.dir={stored.folder}: made by version {stored.manifest['generator_version']} of the generator, "
            f"lacks {', '.join(lacking)}, and images of two versions are not mixed; ask for what it has "
            f"(corruption.names=[{','.join(stored.names)}]), or make a new set"
        )


def _is_whole(stored: StoredSet) -> bool:
    """Whether a set made here has every severity of every image of its test set, in their order."""
    every = len(stored) == stored.manifest.get("images_of_the_data_set") and not stored.unreadable
    return every and stored.severities == SEVERITIES and np.array_equal(stored.indices, np.arange(len(stored)))


def _check_files(stored: StoredSet, data: ImageDataModule) -> None:
    """Check that a set that was made of picture files was made of these, cut out in this way."""
    for what, wanted in data.fingerprint(torch.from_numpy(stored.indices)).items():
        found = stored.manifest.get(what)
        if found != wanted:
            files = f"made of other pictures than those of {data.name}'s test set (their names or labels differ)"
            told = files if what == "test_files" else f"made with {what}={found}, wanted is {wanted}"
            raise BadInput(f"corruption.dir={stored.folder}: {told}")


def _one(images_of: ImagesOf, place: int) -> NDArray[np.uint8]:
    images = images_of(torch.tensor([place])).images
    image = images[0] if len(images) else np.zeros(images.shape[1:], np.uint8)  # it is shown, not measured
    return image.transpose(1, 2, 0)


def _loader(images_of: ImagesOf, cell: tuple[str, int], data: ImageDataModule, workers: int) -> ConditionLoader:
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


def _path(key: str, value: str | None) -> Path | None:
    return None if value is None else user_path(f"corruption.{key}", value)
