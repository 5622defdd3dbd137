"""Where a number is in a table, and what it is: keys are dataclasses, so that none is parsed from its text."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any


def format_value(value: Any) -> str:
    """A value of the configuration as a person writes it.

    >>> format_value(1.0), format_value(None), format_value(True)
    ('1', 'none', 'true')
    """
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Setting:
    """A key of the configuration that varies within a table, and its value: M = 32."""

    name: str
    value: Any

    def __str__(self) -> str:
        return f"{self.name} = {format_value(self.value)}"


@dataclass(frozen=True)
class Key:
    """A block, a row or a column.

    Attributes:
        name: of an option (``p2be``, ``cifar10``), a measure, or other; empty for a setting.
        variant: how it differs from the option as published.
        within: further options: network, data set, regime.
        setting: that varies within the table.

    As a text it is what the CSV files have:

    >>> str(Key("p2be", "lambda = 0.1", ("wrn40_2", "cifar10"), Setting("M", 32)))
    'p2be|lambda = 0.1/wrn40_2/cifar10/M = 32'
    """

    name: str = ""
    variant: str = ""
    within: tuple[str, ...] = ()
    setting: Setting | None = None

    def __str__(self) -> str:
        first = f"{self.name}|{self.variant}" if self.variant else self.name
        return "/".join(filter(None, (first, *self.within, str(self.setting or ""))))

    @property
    def published(self) -> Key:
        """The same without its variant: what the paper may have printed."""
        return replace(self, variant="")


@dataclass(frozen=True)
class Measure:
    """What is reported of a run, see :func:`p2be_exp.report.paper.measures.weights`.

    Attributes:
        kind: ``clean``, ``corruption``, ``lspga``, ``mce``, ``worst``; ``error`` and ``ce`` of one corruption.
        corruption: that corruption.
    """

    kind: str
    corruption: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.corruption}" if self.corruption else self.kind


@dataclass(frozen=True)
class CellKey:
    """Where a number is, and what it is; a block is a group of rows under one heading."""

    block: Key
    row: Key
    column: Key
    measure: Measure


def natural(key: Key | str) -> list[tuple[float, str]]:
    """Sort key by the numbers in a text: M = 128 is behind M = 16."""
    parts = re.split(r"(\d+(?:\.\d+)?)", str(key))
    return [(float(part), "") if part[:1].isdigit() else (-1.0, part) for part in parts if part]
