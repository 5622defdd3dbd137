"""What a leaderboard says of its boards, classes and numbers, on the page and on a terminal alike."""

from __future__ import annotations

from p2be_exp.report.leaderboard.boards import CLEAN, FULL, SHORT, UNTRUSTED, Board
from p2be_exp.report.leaderboard.conditions import interval
from p2be_exp.report.leaderboard.worst_case import WorstCase
from p2be_exp.report.measured import Counts

MISSING = "\N{EM DASH}"

_CLASSES = {
    FULL: "Ranked by the worst case at {levels}, over the attacks of a full suite",
    SHORT: "Ranked by the worst case at {levels}, over a short suite, which may miss what a full one breaks",
    CLEAN: "Ranked by the clean error: no suite of attacks at {levels}",
    UNTRUSTED: "Not ranked: a check of the attacks failed or the panel did not run, so that the worst case at {levels} "
    "may be too low",
}


def class_in_words(kind: str, radius: int) -> str:
    """What the entries of a class are ranked by."""
    return _CLASSES[kind].format(levels=levels(radius))


def heading(board: Board) -> str:
    """Data set and number of images."""
    return f"{board.dataset}, {board.n:,} test images" + (f", {board.images}" if board.images else "")


def levels(radius: int) -> str:
    """A radius.

    >>> levels(1)
    '1 level'
    """
    return f"{radius} level{'s' * (radius != 1)}"


def percent(error: float) -> str:
    """An error with as many digits as the terminal's tables have."""
    return f"{error:.2f}"


def interval_in_words(counts: Counts) -> str:
    """Wilson's interval."""
    low, high = interval(counts)
    return f"{percent(low)} to {percent(high)}"


def attacks(worst: WorstCase, radius: int) -> str:
    """How many attacks a worst case is over, and of which suite."""
    number = len(worst.attacks[radius])
    return f"{number} attack{'s' * (number != 1)}, {'short' if worst.short else 'full'} suite"
