"""The user's own corrupted images in the layout of CIFAR-10-C: used as they are, never reported as published."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2be_exp.corruptions.digests import file_digests
from p2be_exp.corruptions.store import INDICES, LABELS
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.condition_loader import ConditionLoader
from p2be_exp.evaluation.corrupted.stored import StoredImages
from p2be_exp.evaluation.measures import Plan

if TYPE_CHECKING:
    from p2be_exp.data import ImageDataModule


class OwnFiles(StoredImages):
    """Files of any origin, for any data set; the SHA-256 of those that are used is part of the results' settings.

    Args:
        folder: with ``NAME.npy``, five severities of every test image, and ``labels.npy``; ``indices.npy`` names the
            images where they are only a part of the test set.
        dataset: name of the data set.
        names, severities: the requested corruptions and severities.
        key: the option that named the folder.

    Raises:
        BadInput: not such a folder (see :class:`~p2be_exp.corruptions.store.StoredSet`), or a set made by this package.
            When a block is read: its file has changed since.
    """

    def __init__(
        self, folder: Path, dataset: str, names: tuple[str, ...], severities: tuple[int, ...], key: str
    ) -> None:
        super().__init__(folder, names, key)
        self.plan = Plan("own", dataset, names, severities, self.missing)
        self._digests = self._sha256([LABELS, INDICES, *(f"{name}.npy" for name in names if name not in self.missing)])
        self.stored.check = self._check

    def settings(self) -> dict[str, Any]:
        return {
            "name": "own",
            "names": list(self.plan.names),
            "severities": list(self.plan.severities),
            "files": {file.removesuffix(".npy"): digest for file, digest in self._digests.items()},
        }

    def loader(self, name: str, severity: int, data: ImageDataModule) -> ConditionLoader:
        if INDICES not in self._digests and len(self.stored) != data.total_test:
            raise BadInput(
                f"{self._key}={self.stored.folder}: {len(self.stored)} images per severity, {data.name}'s test set has "
                f"{data.total_test}"
            )
        return super().loader(name, severity, data)

    def _check(self, name: str) -> None:
        file = f"{name}.npy"
        if self._sha256([file]) != {file: self._digests[file]}:
            raise BadInput(f"{self._key}={self.stored.folder}: {file} has changed since the evaluation began")

    def _sha256(self, files: list[str]) -> dict[str, str]:
        existing = [file for file in files if (self.stored.folder / file).is_file()]
        try:
            digests = file_digests([self.stored.folder / file for file in existing], "sha256")
        except OSError as error:
            file = Path(error.filename).name
            raise BadInput(f"{self._key}={self.stored.folder}: {file} cannot be read ({error.strerror})") from error
        return dict(zip(existing, digests, strict=True))
