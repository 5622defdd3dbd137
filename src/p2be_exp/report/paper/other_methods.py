"""Other methods as their sources publish them: a table beside that of this project's runs, never in its columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from p2be_exp.report.paper.grid import Grid, Text
from p2be_exp.report.paper.published import (
    MIXTURES,
    MIXTURES_NOTES,
    OTHER_METHODS,
    OTHER_METHODS_NOTES,
    OtherMethods,
    OtherRow,
)

WARNING = (
    "As published, not measured here, and not the same measurements as those above: other networks, training data and "
    "lengths; attacks are AutoAttack within Linf 8/255 on real-valued images where those above move whole levels under "
    "this project's suite; corrupted images are the published CIFAR-C and ImageNet-C where those above may be made "
    "here. No difference between the two tables is one between methods."
)

_HEAD = {"data set": "fact", "network": "fact", "clean, %": "published", "corrupted or attacked, %": "published"}
"""The columns, and the kinds of their cells."""


MIXTURES_WARNING = (
    "As published, not measured here, and not the same measurements as those above: accuracies, where those above are "
    "errors; other networks and training data; attacks on real-valued images where those above move whole levels under "
    "this project's attacks. No difference between the two tables is one between methods."
)


def published_methods(name: str) -> Grid:
    """The published rows in words.

    Args:
        name: ID of the table of this project's runs that they are shown under.
    """
    return _published(name, "Other methods as published", WARNING, OTHER_METHODS, OTHER_METHODS_NOTES)


def published_mixtures(name: str) -> Grid:
    """The same of mixtures of two networks."""
    return _published(name, "Mixtures as published", MIXTURES_WARNING, MIXTURES, MIXTURES_NOTES)


def published_csv() -> str:
    """The published rows as CSV, one line a row."""
    return _csv(OTHER_METHODS)


def published_mixtures_csv() -> str:
    """The same of mixtures of two networks."""
    return _csv(MIXTURES)


def _published(name: str, heading: str, warning: str, methods: Sequence[OtherMethods], notes: tuple[str, ...]) -> Grid:
    return Grid(
        id=f"{name}-published",
        heading=heading,
        warning=warning,
        sentence="Published numbers. A block is one kind of measurement from one source; empty: not given there.",
        corner="method",
        head=tuple((column, ("",)) for column in _HEAD),
        blocks=tuple((f"{each.measured}. Source: {each.source}", tuple(map(_row, each.rows))) for each in methods),
        notes=notes,
    )


def _csv(methods: Sequence[OtherMethods]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "dataset", "network", "clean", "corrupted_or_attacked", "measured", "source"])
    for each in methods:
        for row in each.rows:
            writer.writerow([row.method, row.dataset, row.network, row.clean, row.shifted, each.measured, each.source])
    return text.getvalue()


def _row(row: OtherRow) -> tuple[str, tuple[Text, ...]]:
    texts = (row.dataset, row.network, row.clean, row.shifted)
    return row.method, tuple(Text(text, kind) for text, kind in zip(texts, _HEAD.values(), strict=True))
