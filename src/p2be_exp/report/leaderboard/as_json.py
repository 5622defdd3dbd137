"""A leaderboard for machines: everything that the page shows, in full precision."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from p2be_exp.report.leaderboard.boards import UNTRUSTED, Board, Place
from p2be_exp.report.leaderboard.conditions import interval
from p2be_exp.report.leaderboard.corrupted import Corrupted
from p2be_exp.report.leaderboard.worst_case import WorstCase
from p2be_exp.report.measured import Counts
from p2be_exp.runs.provenance import now

if TYPE_CHECKING:
    from p2be_exp.report.leaderboard.write import Leaderboard

KIND = "p2be_exp leaderboard"
FORMAT_VERSION = 1
"""Of ``leaderboard.json``."""


def as_json(leaderboard: Leaderboard) -> dict[str, Any]:
    """The content of ``leaderboard.json``; errors and intervals in percent, what was not measured is null."""
    return {
        "format_version": FORMAT_VERSION,
        "kind": KIND,
        "written": now(),
        "radius": leaderboard.radius,
        "boards": [_board(board) for board in leaderboard.boards],
        "not_measured_yet": list(leaderboard.not_measured),
    }


def _board(board: Board) -> dict[str, Any]:
    return {
        "dataset": board.dataset,
        "n_images": board.n,
        "images": board.images,
        "entries": [_entry(place, kind) for kind, places in board.classes.items() for place in places],
    }


def _entry(place: Place, kind: str) -> dict[str, Any]:
    each = place.submission
    return {
        "rank": place.rank,
        "ranked_by": None if kind == UNTRUSTED else kind,
        **asdict(each.entry),
        "place": each.place,
        "trained": asdict(each.trained) if each.trained else None,
        "clean": _counts(each.clean),
        "corruptions": _corrupted(each.corrupted),
        "worst_case": _worst_case(each.worst_case),
        "sanity": {"verdict": each.panel.verdict, "checks": [asdict(check) for check in each.panel.checks]},
        "seed": each.seed,
        "version": each.version,
        "written": each.written,
    }


def _counts(counts: Counts) -> dict[str, Any]:
    low, high = interval(counts)
    return {"n": counts.n, "n_wrong": counts.n_wrong, "error": counts.error, "ci_low": low, "ci_high": high}


def _corrupted(corrupted: Corrupted | None) -> dict[str, Any] | None:
    if corrupted is None:
        return None
    return {**asdict(corrupted), "identical": list(corrupted.identical), "missing": list(corrupted.missing)}


def _worst_case(worst: WorstCase | None) -> dict[str, Any] | None:
    if worst is None:
        return None
    radii = {str(radius): _counts(counts) for radius, counts in worst.counts.items()}
    return {
        "suite": worst.suite,
        "radii": {radius: {**row, "attacks": list(worst.attacks[int(radius)])} for radius, row in radii.items()},
    }
