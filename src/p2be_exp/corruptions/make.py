"""Making a -C set: blocks of a corruption at a severity, each written once, stopped and continued at any moment."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numba
import numpy as np
import PIL
import scipy
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

import p2be_exp
from p2be_exp.corruptions.apply import corrupt
from p2be_exp.corruptions.constants import FAMILIES, family_of
from p2be_exp.corruptions.digests import file_digest
from p2be_exp.corruptions.names import ALL, SEVERITIES
from p2be_exp.corruptions.published import published_md5
from p2be_exp.corruptions.source import ImageSource, at_a_time
from p2be_exp.corruptions.store import INDICES, LABELS, MANIFEST, read_manifest, sha256_of
from p2be_exp.corruptions.textures import Textures
from p2be_exp.errors import BadInput
from p2be_exp.system.atomic import remove_leftovers, reporting_full_disk, reserve, write_bytes, write_json
from p2be_exp.system.forms import Form, misfit, unusable
from p2be_exp.system.ownership import owned
from p2be_exp.system.parallel import in_order

FORMAT_VERSION = 1
"""Version of a manifest's layout."""

GENERATOR_VERSION = 2
"""Raised whenever the same arguments give other bytes: sets of two versions are never mixed.

1. The mean of contrast exact; JPEG by the libjpeg-turbo that Pillow brings.
2. The mean of contrast summed in NumPy's order; JPEG as libjpeg 9 makes it. Both as in the published files.
"""

NOTICE = (
    "made by p2be_exp with the published constants; only the files under identical_to_the_published_file are the "
    "published ones"
)

_FORM: Form = {
    "blocks": dict,
    "blocks.*": dict,
    "blocks.*.sha256": str,
    "constants": dict,
    "frost_textures": (dict, type(None)),
    "left_out": dict,
    "versions": list,
    "severities": list,
    "identical_to_the_published_file": list,
    "identical_to_the_published_file.*": str,
}
"""What is read of an earlier manifest to go on with its set; all of it is there."""

Progress = Callable[[str, int, int], None]
"""Called with corruption, severity and the number of images that have just been done."""


def make_set(
    source: ImageSource,
    out: Path,
    names: tuple[str, ...],
    severities: tuple[int, ...],
    *,
    seed: int = 0,
    textures: Textures | None = None,
    workers: int = 1,
    progress: Progress = lambda name, severity, images: None,
) -> dict[str, Any]:
    """Corrupt images and write them into a folder in the layout of CIFAR-10-C, with a manifest.

    A corruption grows in ``.NAME.npy.part``, is noted in the manifest block by block, and gets its name when it is
    complete. Called again with the same arguments, it goes on behind the last block that is noted.

    Args:
        source: the clean images.
        out: the folder; made if it is not there.
        names: of the corruptions, in the published order.
        severities: ascending.
        seed: of the random numbers.
        textures: for ``frost``, which is left out without them.
        workers: number of threads; the bytes do not depend on it.
        progress: called with how far it is; also for blocks that exist already.

    Returns:
        The manifest.

    Raises:
        BadInput: the folder holds a set of other settings, or cannot be written.
    """
    with owned(Path(out), "out"):
        return _Maker(Path(out), source, names, severities, seed, textures).make(workers, progress)


class _Maker:
    def __init__(
        self,
        out: Path,
        source: ImageSource,
        names: tuple[str, ...],
        severities: tuple[int, ...],
        seed: int,
        textures: Textures | None,
    ) -> None:
        self.out, self.source, self.names, self.severities = out, source, names, severities
        self.seed, self.textures = seed, textures
        self.manifest = self._manifest()

    def make(self, workers: int, progress: Progress) -> dict[str, Any]:
        try:
            with reporting_full_disk(self.out):
                remove_leftovers(self.out)
                self._write_labels()
                self._write_manifest()
                self._compare_with_published(Path(LABELS).stem)
                for name in self.names:
                    if name not in self.manifest["left_out"]:
                        self._make_file(name, workers, progress)
        except OSError as error:
            raise BadInput(f"out={self.out}: cannot be written ({error.strerror or error})") from error
        return self.manifest

    def _make_file(self, name: str, workers: int, progress: Progress) -> None:
        file, part = self.out / f"{name}.npy", self.out / f".{name}.npy.part"
        n = len(self.source.labels)
        shape = (len(self.severities) * n, *self.source.size, 3)
        complete = file.is_file()
        images = self._open_complete(file) if complete else _open_part(part, shape)
        for place, severity in enumerate(self.severities):
            block = images[place * n : (place + 1) * n]
            if self._is_done(name, severity, block):
                progress(name, severity, n)
                continue
            if complete:
                raise BadInput(f"out={self.out}: {name}.npy is not what {MANIFEST} says; remove it")
            start = time.perf_counter()
            self._make_block(block, name, severity, workers, progress)
            images.flush()
            self.manifest["blocks"][f"{name}/{severity}"] = {
                "sha256": sha256_of(block),
                "seconds": round(time.perf_counter() - start, 2),
            }
            self._write_manifest()
        if not complete:
            with part.open("rb+") as written:
                os.fsync(written.fileno())
            part.replace(file)
        self._compare_with_published(name)

    def _compare_with_published(self, name: str) -> None:
        """Note whether a finished file, or the labels, is the published one; none is without every test image."""
        published = published_md5(self.source.name, name)
        whole = self.severities == SEVERITIES and len(self.source.labels) == self.source.total
        same = published is not None and whole and file_digest(self.out / f"{name}.npy", "md5") == published
        noted = {*self.manifest["identical_to_the_published_file"]} - {name} | ({name} if same else set())
        self.manifest["identical_to_the_published_file"] = [
            each for each in (*ALL, Path(LABELS).stem) if each in noted and (self.out / f"{each}.npy").is_file()
        ]
        self._write_manifest()

    def _open_complete(self, file: Path) -> np.memmap[Any, np.dtype[np.uint8]]:
        try:
            return open_memmap(file, mode="r")
        except Exception as error:  # NumPy raises many kinds on a damaged file
            if isinstance(error, PermissionError):
                raise BadInput(f"out={self.out}: {file.name} {unusable(error)}") from error
            raise BadInput(f"out={self.out}: {file.name} is not what {MANIFEST} says; remove it") from error

    def _make_block(self, block: NDArray[np.uint8], name: str, severity: int, workers: int, progress: Progress) -> None:
        chunk = at_a_time(self.source.size)
        spans = [(start, min(start + chunk, len(block))) for start in range(0, len(block), chunk)]

        def work(span: tuple[int, int]) -> int:
            start, stop = span
            block[start:stop] = corrupt(
                self.source.read(start, stop),
                name,
                severity,
                dataset=self.source.name,
                indices=self.source.indices[start:stop],
                seed=self.seed,
                textures=self.textures,
            )
            return stop - start

        for done in in_order(work, spans, workers):
            progress(name, severity, done)

    def _is_done(self, name: str, severity: int, block: NDArray[np.uint8]) -> bool:
        """Whether the block is noted, and is what was noted: a crash may have lost pages that were not on disk yet."""
        noted = self.manifest["blocks"].get(f"{name}/{severity}")
        return noted is not None and noted.get("sha256") == sha256_of(block)

    def _manifest(self) -> dict[str, Any]:
        """The folder's manifest, or a new one; both with the settings of this call."""
        fresh = self._fresh_manifest()
        earlier = read_manifest(self.out, "out")
        if earlier is None:
            if (self.out / LABELS).exists() or any((self.out / f"{name}.npy").exists() for name in ALL):
                raise BadInput(f"out={self.out}: holds -C files without a manifest; choose another folder")
            return fresh
        # Sets of version 1 do not have the last of these keys.
        needed = (key for key in _FORM if "." not in key and key != "identical_to_the_published_file")
        missing = (f"no {key}" for key in needed if key not in earlier)
        if found := misfit(_FORM, earlier) or next(missing, None):
            raise BadInput(f"out={self.out}: {MANIFEST} is damaged ({found})")
        # Of which images it is made, and of which classes, is recorded by the digests; older sets do not name these.
        may_differ = (
            *("blocks", "constants", "left_out", "versions", "frost_textures", "classes", "unreadable", "notice"),
            "identical_to_the_published_file",
        )
        changed = [key for key in fresh if key not in may_differ and earlier.get(key) != fresh[key]]
        textures = (earlier["frost_textures"], fresh["frost_textures"])
        if None not in textures and textures[0] != textures[1]:
            changed.append("frost_textures")
        if changed:
            settings = ", ".join(f"{key}={earlier.get(key)}" for key in changed)
            raise BadInput(f"out={self.out}: holds a set made with other settings ({settings}); choose another folder")
        versions = earlier["versions"] + [each for each in fresh["versions"] if each not in earlier["versions"]]
        return {
            **fresh,
            "constants": {**earlier["constants"], **fresh["constants"]},
            "frost_textures": fresh["frost_textures"] or earlier["frost_textures"],
            "left_out": {
                **{name: why for name, why in earlier["left_out"].items() if name not in self.names},
                **fresh["left_out"],
            },
            "versions": versions,
            "identical_to_the_published_file": earlier.get("identical_to_the_published_file", []),
            "blocks": earlier["blocks"],
        }

    def _fresh_manifest(self) -> dict[str, Any]:
        source = self.source
        family = family_of(*source.size)
        without_frost = "frost" in self.names and self.textures is None and not (self.out / "frost.npy").is_file()
        return {
            "format_version": FORMAT_VERSION,
            "generator_version": GENERATOR_VERSION,
            "notice": NOTICE,
            "dataset": source.name,
            "classes": list(source.classes),
            "images": len(source.labels),
            "images_of_the_data_set": source.total,
            "unreadable": [each._asdict() for each in source.left_out],
            "indices_sha256": sha256_of(np.ascontiguousarray(source.indices, dtype=np.int64)),
            "height": source.size[0],
            "width": source.size[1],
            **source.fingerprint,
            "severities": list(self.severities),
            "seed": self.seed,
            "constants_of": family,
            "constants": {name: [list(each) for each in FAMILIES[family][name]] for name in self.names},
            "frost_textures": None if self.textures is None else dict(self.textures.sha256),
            "left_out": {"frost": "no textures"} if without_frost else {},
            "versions": [versions()],
            "identical_to_the_published_file": [],
            "blocks": {},
        }

    def _write_manifest(self) -> None:
        write_json(self.out / MANIFEST, self.manifest)

    def _write_labels(self) -> None:
        labels = np.asarray(self.source.labels)
        small = labels.max() < 256
        _save(self.out / LABELS, np.tile(labels, len(self.severities)).astype(np.uint8 if small else np.int64))
        if len(labels) < self.source.total:  # a part of the test set: which one
            _save(self.out / INDICES, np.asarray(self.source.indices, dtype=np.int64))


def versions() -> dict[str, str]:
    """Versions of the packages that the bytes of a set may depend on."""
    modules = {"numpy": np, "scipy": scipy, "opencv": cv2, "pillow": PIL, "numba": numba}
    return {"p2be-exp": p2be_exp.__version__, **{name: module.__version__ for name, module in modules.items()}}


def _open_part(part: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    try:
        if part.is_symlink() or part.stat().st_nlink > 1:  # somebody else's file
            part.unlink()
        images = open_memmap(part, mode="r+")
        fits = images.shape == shape and images.dtype == np.uint8
    except Exception:
        fits = False  # none, or one whose header was never finished
    if not fits:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        images = open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
    reserve(part, part.stat().st_size)
    return images


def _save(file: Path, array: NDArray[Any]) -> None:
    try:
        if file.is_file() and np.array_equal(np.load(file), array):
            return
    except Exception:  # NumPy raises many kinds on a damaged file, which is written anew
        pass
    content = io.BytesIO()
    np.save(content, array)
    write_bytes(file, content.getbuffer())
