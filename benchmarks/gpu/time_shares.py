"""How the minutes are shared among the parts."""

from __future__ import annotations

from collections.abc import Sequence

WEIGHTS = {"tests": 1.0, "step": 2.2, "train": 5.0}
"""Each part's share of what is left when it begins; what one leaves over is the later ones'."""

RESERVE = 3.0
"""Seconds at the end for the last rows and the table."""


def limit_of(part: str, parts_left: Sequence[str], seconds_left: float) -> float:
    """Seconds that a part may take.

    Args:
        part: the one that begins.
        parts_left: it and those after it.
        seconds_left: of all.

    >>> round(limit_of("tests", ["tests", "step", "train"], 543)), limit_of("train", ["train"], 300)
    (66, 297.0)
    """
    share = WEIGHTS[part] / sum(WEIGHTS[each] for each in parts_left)
    return max(0.0, seconds_left - RESERVE) * share
