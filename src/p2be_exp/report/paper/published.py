"""What the paper printed, and what others publish of their methods, read from ``published.yaml`` beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

PAPER = "Kishida & Nakayama, ICPR 2022"

NETWORKS = {"wrn": "WRN-40-2", "densenet": "DenseNet", "resnext": "ResNeXt", "resnet50": "ResNet-50"}
"""The paper's networks by family, as the paper calls them."""

FAMILIES = {
    "wrn40_2": "wrn",
    "densenet_bc_100_12": "densenet",
    "densenet40_12": "densenet",
    "densenet40_24": "densenet",
    "resnext29_4x32d": "resnext",
    "resnext29_32x4d": "resnext",
    "resnet50": "resnet50",
}
"""Backbones that may be the paper's, by family; which DenseNet and which ResNeXt it trained is not said."""

ENCODINGS = {"rgb": "RGB", "onehot": "One-hot", "thermometer": "Thermometer", "p2be": "P2BE"}


@dataclass(frozen=True)
class Published:
    """One published number.

    Attributes:
        value: percent; None where the paper prints N/A.
        sd: standard deviation over five runs, where it is printed.
        source: where it is printed.
    """

    value: float | None
    sd: float | None
    source: str


@dataclass(frozen=True)
class PublishedTable:
    """A table or a figure of the paper.

    Attributes:
        id: of the report's table that it is shown beside.
        source: its number in the paper; empty for a table that only the report has.
        blocks, rows, columns: their names, in the order of the paper.
        numbers: by block, row and column.
        notes: what the paper leaves open about it, or contradicts.
    """

    id: str
    source: str = ""
    blocks: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    numbers: Mapping[tuple[str, str, str], Published] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _number(printed: float | str, source: str) -> Published:
    """A number as the file has it: 22.2, ``35.2 ± 0.3`` or ``N/A``."""
    if not isinstance(printed, str):
        return Published(printed, None, source)
    value, _, sd = printed.partition(" ± ")
    return Published(None if value == "N/A" else float(value), float(sd) if sd else None, source)


def _table(name: str, entry: Mapping[str, Any]) -> PublishedTable:
    blocks, columns = entry.get("numbers", {}), tuple(entry.get("columns", ()))
    source = f"{PAPER}, {entry['source']}"
    numbers = {
        (block, row, column): _number(printed, source)
        for block, rows in blocks.items()
        for row, values in rows.items()
        for column, printed in zip(columns, values, strict=True)
    }
    rows = tuple(dict.fromkeys(row for _, row, _ in numbers))
    return PublishedTable(name, entry["source"], tuple(blocks), rows, columns, numbers, tuple(entry.get("notes", ())))


_PRINTED = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
_OTHERS, _MIXTURES = _PRINTED.pop("other_methods"), _PRINTED.pop("mixtures")

PUBLISHED: dict[str, PublishedTable] = {name: _table(name, entry) for name, entry in _PRINTED.items()}
"""The paper's tables and figures by the ID of the report's table."""


@dataclass(frozen=True)
class OtherRow:
    """One method as published.

    Attributes:
        method: its name, as its source has it.
        dataset, network: trained on; the network is empty where the source does not give it.
        clean: on the test images, percent, as it is printed.
        shifted: under corruptions or an attack, the same.
    """

    method: str
    dataset: str
    network: str
    clean: str
    shifted: str


@dataclass(frozen=True)
class OtherMethods:
    """Methods of one source that were measured in one way.

    Attributes:
        measured: what its numbers are.
        source: where they are printed.
        rows: the methods.
    """

    measured: str
    source: str
    rows: tuple[OtherRow, ...]


def _methods(entry: Mapping[str, Any]) -> tuple[OtherMethods, ...]:
    return tuple(
        OtherMethods(each["title"], each["source"], tuple(OtherRow(*row) for row in each["rows"]))
        for each in entry["tables"]
    )


OTHER_METHODS = _methods(_OTHERS)
"""Other methods, as their sources publish them; none of the numbers is the same measurement as this project's."""

OTHER_METHODS_NOTES: tuple[str, ...] = tuple(_OTHERS["notes"])
"""On all of them."""

MIXTURES = _methods(_MIXTURES)
"""The same of mixtures of two networks, and of their parts."""

MIXTURES_NOTES: tuple[str, ...] = tuple(_MIXTURES["notes"])
"""On all of these."""
