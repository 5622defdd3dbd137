"""The published CIFAR-10-C and CIFAR-100-C, verified by their digests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2be_exp.corruptions.official import not_published
from p2be_exp.corruptions.published import ARCHIVES
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.measures import Plan

if TYPE_CHECKING:
    pass


from p2be_exp.evaluation.corrupted.stored import StoredImages


class OfficialCifarC(StoredImages):
    """The published CIFAR-10-C or CIFAR-100-C, read from its folder; each file that is used is verified by its md5.

    Args:
        folder: with ``NAME.npy`` and ``labels.npy``.
        dataset: ``cifar10`` or ``cifar100``.
        names, severities: the requested corruptions and severities.
        key: the option that named the folder.

    Raises:
        BadInput: not such a folder (see :class:`~p2be_exp.corruptions.store.StoredSet`), or a file in it is not the
            published one. When a block is read: its file has changed since.
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
            "verified": "md5",  # absent from older results, whose files were not verified
        }

    def _verify(self, names: list[str]) -> None:
        folder, dataset = self.stored.folder, self.plan.dataset
        if fault := not_published(folder, dataset, names):
            fetch = f"python -m p2be_exp.corruptions fetch {dataset}"
            again = f"get the archive again ({fetch}), or " if dataset in ARCHIVES else ""
            raise BadInput(f"{self._key}={folder}: {fault}; {again}use corruption=own corruption.dir={folder}")
