"""The published -C sets: where their folders are looked for, and what ``corruption=auto`` comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

OFFICIAL_FOLDERS = {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C", "imagenet": "ImageNet-C"}
"""Names of the published folders, under ``data_dir``."""


def resolved(wanted: dict[str, Any], dataset: str, data_dir: Path) -> dict[str, Any]:
    """A ``corruption`` group with ``auto`` decided: the published set where it is found, else generated.

    Args:
        wanted: the group.
        dataset: name of the data set.
        data_dir: where its published -C set would be.
    """
    if wanted["name"] != "auto":
        return wanted
    official = dataset in OFFICIAL_FOLDERS and (data_dir / OFFICIAL_FOLDERS[dataset]).is_dir()
    name = ("imagenet_c" if dataset == "imagenet" else "cifar_c") if official else "generated"
    return {**wanted, "name": name, "dir": None}
