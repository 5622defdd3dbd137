"""A -C set in a folder, in the layout of CIFAR-10-C: ``NAME.npy`` and ``labels.npy``; one made here has a manifest too.

``NAME.npy`` is uint8 ``(S N, H, W, 3)``: a block of N images for each severity, ascending, each in the order of the
test set. ``labels.npy`` has the labels of the N images S times over.

The manifest has the SHA-256 of every block. It is compared when a block is first read, and again where its file has
changed since; files from elsewhere have no manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2be_exp.corruptions.names import ALL, SEVERITIES
from p2be_exp.data.batch import Unreadable
from p2be_exp.errors import BadInput

MANIFEST = "manifest.json"
LABELS = "labels.npy"
INDICES = "indices.npy"

_sound: set[tuple[Any, ...]] = set()  # the blocks that this process has compared, by file, size and time
_comparing = Lock()  # of several threads that read a block the first compares it, the others wait


class StoredSet:
    """A folder in the layout of CIFAR-10-C, opened to read; the arrays stay on disk, mapped into memory.

    Args:
        folder: published files, or a set made here.
        key: the option under which the user gave it, for messages.
        wanted: the corruptions whose files are used; what the others hold does not matter.

    Attributes:
        manifest: of a set that was made here; None for the published files and for anybody's own.
        check: called with a corruption's name whenever a block of its file is read; raises where the file is not, or
            no longer, what it should be.
        names: the corruptions that it has of those wanted, complete, in the published order.
        severities: ascending.
        labels: ``(N,)`` integers.
        indices: ``(N,)``, the position of each image in its test set.
        unreadable: images of the test set that it lacks, by their position there: they could not be read.

    Raises:
        BadInput: no such folder, labels missing, a file that is no such array or has another shape or type, indices
            that are not those of the manifest.
    """

    def __init__(self, folder: Path, key: str = "corruption.dir", wanted: Collection[str] = ALL) -> None:
        self.folder, self._key = Path(folder), key
        self.check: Callable[[str], None] = lambda name: None
        if not self.folder.is_dir():
            raise BadInput(f"{key}={folder}: no such folder")
        self.manifest = self._read_manifest()
        self.unreadable = self._read_unreadable()
        self.severities: tuple[int, ...] = tuple(self.manifest["severities"]) if self.manifest else SEVERITIES
        there = [name for name in ALL if (self.folder / f"{name}.npy").is_file()]
        self.names = tuple(name for name in there if name in wanted)
        self.labels = self._read_labels()
        self.indices = self._read_indices()
        if not there:
            raise BadInput(f"{key}={folder}: no corruption in it; expected files like {ALL[0]}.npy")
        arrays = {name: self._open(name) for name in self.names}
        self.size = next((array.shape[1:3] for array in arrays.values()), (0, 0))
        for name, array in arrays.items():
            if array.shape[1:3] != self.size:
                found = "x".join(map(str, array.shape[1:3]))
                raise BadInput(f"{self._where(name)}: images of {found}, {self.names[0]}.npy has others")

    def __len__(self) -> int:
        """Number of images of one severity."""
        return len(self.labels)

    def block(self, name: str, severity: int) -> NDArray[np.uint8]:
        """The images of one cell, ``(N, H, W, 3)``, mapped into memory: opened anew, so that its pages can go.

        Raises:
            BadInput: they are not what the manifest says.
        """
        place = self.severities.index(severity)
        file = _identity(self.folder / f"{name}.npy")  # before it is opened: what comes after that is another one
        block = self._open(name)[place * len(self) : (place + 1) * len(self)]
        with _comparing:
            self.check(name)
            noted = self.noted(name, severity)
            if noted is not None and (file, severity, noted) not in _sound:
                if sha256_of(block) != noted:
                    raise BadInput(
                        f"{self._where(name)} is damaged (severity {severity} is not what {MANIFEST} says); "
                        "remove it and make it again"
                    )
                _sound.add((file, severity, noted))
        return block

    def noted(self, name: str, severity: int) -> str | None:
        """SHA-256 of a cell in the manifest; None where there is no manifest.

        Raises:
            BadInput: the manifest does not have it.
        """
        if self.manifest is None:
            return None
        if (block := self.manifest["blocks"].get(f"{name}/{severity}")) is None:
            raise BadInput(f"{self._where(name)}: severity {severity} is not in {MANIFEST}")
        return block["sha256"]

    def _where(self, name: str) -> str:
        return f"{self._key}={self.folder}: {name}.npy"

    def _read_unreadable(self) -> dict[int, Unreadable]:
        """Which images the set lacks; none where it was made before that was noted."""
        noted = (self.manifest or {}).get("unreadable", [])
        try:
            return {int(each["index"]): Unreadable(str(each["file"]), str(each["reason"])) for each in noted}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BadInput(f"{self._key}={self.folder}: {MANIFEST} is damaged") from error

    def _open(self, name: str) -> NDArray[np.uint8]:
        array = _mapped(self.folder / f"{name}.npy", self._where(name))
        rows = len(self.severities) * len(self)
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3:
            raise BadInput(f"{self._where(name)}: {array.dtype} {array.shape}, expected uint8 ({rows}, H, W, 3)")
        if len(array) != rows:
            raise BadInput(f"{self._where(name)}: {len(array)} images, {LABELS} has {rows}")
        return array

    def _read_labels(self) -> NDArray[np.integer]:
        file = self.folder / LABELS
        if not file.is_file():
            raise BadInput(f"{self._key}={self.folder}: {LABELS} is missing")
        labels = _mapped(file, f"{self._key}={self.folder}: {LABELS}")
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) % len(self.severities) or not len(labels):
            raise BadInput(
                f"{self._key}={self.folder}: {LABELS} is {labels.dtype} {labels.shape}, expected integers, "
                f"{len(self.severities)} times those of the test set"
            )
        blocks = np.array(labels, dtype=np.int64).reshape(len(self.severities), -1)
        if (blocks != blocks[0]).any():
            raise BadInput(
                f"{self._key}={self.folder}: {LABELS} differs between severities; expected the labels of the test "
                f"set, {len(self.severities)} times over"
            )
        return blocks[0]

    def _read_indices(self) -> NDArray[np.int64]:
        file = self.folder / INDICES
        indices = np.arange(len(self.labels))
        if file.is_file():
            indices = np.array(_mapped(file, f"{self._key}={self.folder}: {INDICES}"))
        if indices.shape != self.labels.shape or indices.dtype.kind not in "iu":
            raise BadInput(f"{self._key}={self.folder}: {INDICES} is {indices.dtype} {indices.shape}")
        indices = indices.astype(np.int64)
        noted = (self.manifest or {}).get("indices_sha256")
        if noted is not None and noted != sha256_of(indices):
            reason = "is not what" if file.is_file() else "is missing, or the labels are not those that"
            raise BadInput(f"{self._key}={self.folder}: {INDICES} {reason} {MANIFEST} says")
        return indices

    def _read_manifest(self) -> dict[str, Any] | None:
        return read_manifest(self.folder, self._key)


def read_manifest(folder: Path, key: str) -> dict[str, Any] | None:
    """The manifest of a set that was made here; None where there is none.

    Raises:
        BadInput: it is damaged.
    """
    file = Path(folder) / MANIFEST
    if not file.is_file():
        return None
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        sound = _is_manifest(manifest)
    except OSError as error:
        raise BadInput(f"{key}={folder}: {MANIFEST} cannot be read ({error.strerror})") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadInput(f"{key}={folder}: {MANIFEST} is damaged") from error
    if not sound:
        raise BadInput(f"{key}={folder}: {MANIFEST} is damaged")
    return manifest


def _is_manifest(manifest: Any) -> bool:
    severities, _ = manifest["severities"], (manifest["dataset"], manifest["seed"])
    whole = bool(severities) and all(type(each) is int for each in severities)
    digests = [block["sha256"] for block in manifest["blocks"].values()]
    return whole and severities == sorted({*severities} & {*SEVERITIES}) and all(isinstance(d, str) for d in digests)


def sha256_of(array: NDArray[Any]) -> str:
    """SHA-256 of an array's bytes in C order, without header, as hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _identity(file: Path) -> tuple[int, ...] | None:
    """What distinguishes a file from another that replaced it; None where it is gone."""
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _mapped(file: Path, where: str) -> NDArray[Any]:
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        whole = array.offset + array.nbytes == file.stat().st_size  # else its header is another one
    except PermissionError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror})") from error
    except Exception as error:  # NumPy raises many kinds; of a file that ends too early, that it cannot be mapped
        raise BadInput(f"{where}: truncated, or not an array file of NumPy") from error
    if not whole:
        raise BadInput(f"{where}: truncated, or not an array file of NumPy")
    return array
