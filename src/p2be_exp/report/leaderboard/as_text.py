"""A leaderboard on a terminal: what each entry is ranked by, and what its panel says."""

from __future__ import annotations

from p2be_exp.report.leaderboard.boards import Board, Place
from p2be_exp.report.leaderboard.words import (
    MISSING,
    class_in_words,
    heading,
    interval_in_words,
    levels,
    percent,
)
from p2be_exp.report.measured import Counts

_NAME = 40
"""Columns of a name."""


def as_text(board: Board, radius: int) -> str:
    """One board."""
    worst = f"worst case, {levels(radius)}"
    lines = [heading(board), "", f"{'':>5} {'entry':<{_NAME}}{'clean %':>9}  {worst:<26}sanity panel"]
    for kind, places in board.classes.items():
        lines += [f"  {class_in_words(kind, radius)}", *(_line(place, radius) for place in places)]
    return "\n".join(lines)


def _line(place: Place, radius: int) -> str:
    each = place.submission
    name = each.entry.name if len(each.entry.name) < _NAME else f"{each.entry.name[: _NAME - 4]}..."
    worst = each.worst_case.counts.get(radius) if each.worst_case else None
    rank = MISSING if place.rank is None else place.rank
    return f"{rank:>5} {name:<{_NAME}}{percent(each.clean.error):>9}  {_worst(worst):<26}{each.panel.verdict}"


def _worst(counts: Counts | None) -> str:
    return MISSING if counts is None else f"{percent(counts.error):>6}  {interval_in_words(counts)}"
