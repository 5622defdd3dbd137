"""Distances of the nearest wrong images that attacks without a radius found: one row an attack in ``distances.csv``.

They stand apart from ``results.csv``: an image at any L2 distance is inside no ball of the evaluation, so that nothing
here is part of a worst case.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2be_exp.evaluation.condition import Condition
from p2be_exp.statistics.intervals import wilson_interval
from p2be_exp.system.foreign_files import read_text

NORM = "L2"
QUANTILES = {"q10": 10, "q25": 25, "median": 50, "q75": 75, "q90": 90}
"""Percent of the images that each stands for."""


@dataclass(frozen=True)
class DistanceRow:
    """How far from each test image the nearest wrong one is that an attack found.

    An image that is wrong as it is has a distance of 0, one that is not broken an infinite one; a quantile is the
    distance within which at least so many percent of all images are broken, None where fewer are broken at all.

    Attributes:
        condition: ``distance/ID``.
        name: the attack's ID.
        norm: of the distance.
        gradient: that the attack used, "" for none.
        n: number of images.
        n_wrong: images that are wrong as they are.
        n_broken: images that are wrong as they are or as the attack made them.
        broken, ci_low, ci_high: their share in percent, with Wilson's 95 % interval.
        levels_q10, ...: quantiles in levels.
        unit_q10, ...: the same of images in [0, 1], 1/255 of those in levels.
        seconds: that it took.
    """

    condition: str
    name: str
    norm: str
    gradient: str
    n: int
    n_wrong: int
    n_broken: int
    broken: float
    ci_low: float
    ci_high: float
    levels_q10: float | None
    levels_q25: float | None
    levels_median: float | None
    levels_q75: float | None
    levels_q90: float | None
    unit_q10: float | None
    unit_q25: float | None
    unit_median: float | None
    unit_q75: float | None
    unit_q90: float | None
    seconds: float

    @classmethod
    def of(cls, condition: Condition, distance: NDArray[np.floating], seconds: float) -> DistanceRow:
        """The row of an attack from the distance of each image in levels, ``(n,)``."""
        n, n_broken = len(distance), int(np.isfinite(distance).sum())
        low, high = wilson_interval(n_broken, n)
        quantiles = {name: quantile(distance, percent) for name, percent in QUANTILES.items()}
        return cls(
            condition=condition.id,
            name=condition.name,
            norm=NORM,
            gradient=condition.gradient,
            n=n,
            n_wrong=int((distance == 0).sum()),
            n_broken=n_broken,
            broken=round(100 * n_broken / n, 4),
            ci_low=round(100 * low, 4),
            ci_high=round(100 * high, 4),
            **{f"levels_{name}": _rounded(value, 4) for name, value in quantiles.items()},
            **{f"unit_{name}": _rounded(value / 255, 6) for name, value in quantiles.items()},
            seconds=round(seconds, 3),
        )

    def summary(self) -> dict[str, Any]:
        """Its entry in ``results.json``."""
        counts = ("n", "n_wrong", "n_broken", "broken", "ci_low", "ci_high")
        return {
            "norm": self.norm,
            "gradient": self.gradient or None,
            **{name: getattr(self, name) for name in counts},
            **{unit: {name: getattr(self, f"{unit}_{name}") for name in QUANTILES} for unit in ("levels", "unit")},
        }


def quantile(distance: NDArray[np.floating], percent: int) -> float:
    """The smallest of the distances within which at least so many percent of the images are; it may be infinite.

    No mean of two neighbours is taken, one of which may be infinite.

    >>> distance = np.array([np.inf, 3.0, 0.0, 5.0])
    >>> [quantile(distance, percent) for percent in (25, 50, 75, 76)]
    [0.0, 3.0, 5.0, inf]
    """
    place = -(-percent * len(distance) // 100)  # rounded up, in whole numbers
    return float(np.sort(distance)[max(place, 1) - 1])


def _rounded(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


def table_of(rows: Iterable[DistanceRow]) -> str:
    """The content of ``distances.csv``; a quantile that no number stands for is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(DistanceRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(each) for each in rows)
    return text.getvalue()


def read_rows(file: Path) -> dict[str, DistanceRow]:
    """The rows of a ``distances.csv`` by their condition; empty where there is no file.

    Raises:
        OSError: it cannot be read.
        ValueError, KeyError, TypeError, csv.Error: it is damaged.
    """
    if not os.path.lexists(file):
        return {}
    lines = list(csv.DictReader(io.StringIO(read_text(file), newline="")))
    found = {row.condition: row for row in map(_parsed, lines)}
    if len(found) < len(lines):
        raise ValueError("a condition appears twice")
    return found


def _parsed(line: Mapping[str, str]) -> DistanceRow:
    texts = ("condition", "name", "norm", "gradient")
    values: dict[str, Any] = {}
    for field in fields(DistanceRow):
        text = line[field.name]
        if field.name in texts:
            values[field.name] = text
        elif field.name in ("n", "n_wrong", "n_broken"):
            values[field.name] = int(text)
        else:
            values[field.name] = float(text) if text else None
    if len(line) > len(values):
        raise ValueError("a row with the wrong number of columns")
    if values["condition"] != f"distance/{values['name']}":
        raise ValueError(f"{values['condition']} is not that of {values['name']}")
    return DistanceRow(**values)


def check_distances(row: DistanceRow, distance: NDArray[Any]) -> None:
    """Check that the distances behind a row are those that it was made of.

    Args:
        row: as read.
        distance: ``(n,)``, in levels.

    Raises:
        ValueError: they are not.
    """
    if distance.shape != (row.n,) or row.n == 0 or distance.dtype.kind != "f" or not (distance >= 0).all():
        raise ValueError(f"distance is {distance.dtype} {distance.shape}, or has a value that is none")
    again = asdict(DistanceRow.of(Condition("distance", row.name, gradient=row.gradient), distance, row.seconds))
    if any(not _same(again[name], value) for name, value in asdict(row).items()):
        raise ValueError("the distances of the images are not the row's")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, abs_tol=1e-3)  # they are rounded to four decimals
    return one == other
