"""The worst case of an evaluation by radius, as counts; a single attack has none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from p2be_exp.report.leaderboard.checked import Checked
from p2be_exp.report.leaderboard.conditions import ROUNDED
from p2be_exp.report.measured import Counts
from p2be_exp.report.paper.measures import SUITES

LARGEST = 255
"""Radius in levels beyond which nothing changes."""


@dataclass(frozen=True)
class WorstCase:
    """What no attack of a suite left right.

    Attributes:
        suite: ``suite`` or ``suite_short``.
        counts: by radius in levels, ascending; a radius whose attacks are not all measured is not there.
        attacks: by radius, the IDs of the attacks that it is over.
    """

    suite: str
    counts: Mapping[int, Counts]
    attacks: Mapping[int, tuple[str, ...]]

    @property
    def short(self) -> bool:
        """Whether its suite is the short one, which may miss images that the full one breaks."""
        return self.suite != SUITES[0]


def read_worst_case(summary: Checked, counts: Mapping[str, Counts]) -> WorstCase | None:
    """The worst case; None where no suite ran, or none is complete at any radius.

    Raises:
        BadInput: a value is not allowed, is no share of the images, or is below the error of an attack in it.
    """
    suite, errors = _suite(summary), summary["worst_case_error"]
    if suite is None or not errors.given:
        return None
    found: dict[int, Counts] = {}
    for name, error in errors.items():
        radius = _radius(error, name)
        if error.given:
            found[radius] = _counts(error, counts["clean"].n)
    found = dict(sorted(found.items()))
    attacks = {radius: _attacks(summary, radius, counts) for radius in found}
    least = counts["clean"]
    for radius, count in found.items():
        rows = [counts[name] for each in attacks[radius] if (name := f"attack/{each}/{radius}") in counts]
        least = max([least, *(row for row in rows if row.n == count.n)], key=lambda each: each.n_wrong)
        if count.n_wrong < least.n_wrong:
            raise errors[str(radius)].refused(f"at least {least.error:.4f}, the error of a row that it is over")
        least = count
    return WorstCase(suite, found, attacks) if found else None


def _suite(summary: Checked) -> str | None:
    """The suite that ran; older results say it in their settings alone."""
    written = summary["worst_case"]
    if written.given:
        return written["suite"].one_of(*SUITES)
    attack = summary["settings"]["attack"]
    if "worst_case" in summary.value or not attack.given:
        return None
    name = attack["name"].text()
    return name if name in SUITES else None


def _attacks(summary: Checked, radius: int, counts: Mapping[str, Counts]) -> tuple[str, ...]:
    """The attacks at a radius; those of older results are all that have a row there."""
    written = summary["worst_case"]
    if not written.given:
        parts = (name.split("/") for name in counts if name.startswith("attack/"))
        return tuple(name for _, name, at in parts if int(at) == radius)
    listed = written["attacks"][str(radius)]
    return tuple(each.text("an attack's ID") for each in listed.entries())


def _radius(error: Checked, name: str) -> int:
    if not name.isascii() or not name.isdecimal() or not int(name) <= LARGEST:
        raise error.refused(f"by radius, a whole number of levels up to {LARGEST}")
    return int(name)


def _counts(error: Checked, n: int) -> Counts:
    percent = error.number(0, 100)
    wrong = round(percent * n / 100)
    if not math.isclose(100 * wrong / n, percent, rel_tol=0, abs_tol=ROUNDED):
        raise error.refused(f"a share of the {n:,} images in percent, with four decimals")
    return Counts(wrong, n)
