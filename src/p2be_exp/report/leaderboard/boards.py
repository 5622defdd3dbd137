"""Which results are ranked against each other, and in what order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from p2be_exp.errors import BadInput
from p2be_exp.report.leaderboard.submission import Submission
from p2be_exp.report.paper.measures import WORST_RADIUS

FULL, SHORT, CLEAN, UNTRUSTED = "suite", "suite_short", "clean", "untrusted"
"""What an entry is ranked by: its worst case under a full suite, under a short one, its clean error; or not at all."""


@dataclass(frozen=True)
class Place:
    """An entry in its board.

    Attributes:
        rank: among the entries of its class, 1 for the fewest errors; equal counts share it. None if it is not ranked.
        submission: the entry.
    """

    rank: int | None
    submission: Submission


@dataclass(frozen=True)
class Board:
    """The entries that were tested on the same images.

    Attributes:
        dataset: its name.
        n: number of test images.
        images: what else tells these images from others of the same number; empty if nothing has to.
        classes: by what they are ranked by, the places in their order; only classes that have an entry.
    """

    dataset: str
    n: int
    images: str
    classes: dict[str, list[Place]]

    @property
    def submissions(self) -> list[Submission]:
        """All entries in their order."""
        return [place.submission for places in self.classes.values() for place in places]

    @property
    def radii(self) -> list[int]:
        """Those that an entry has a worst case at, ascending."""
        return sorted({radius for each in self.submissions if each.worst_case for radius in each.worst_case.counts})


def choose_radius(submissions: Iterable[Submission], wanted: int | None = None) -> int:
    """The radius to rank by: the wanted one, else 8 levels if a worst case has it, else the one that most have.

    Raises:
        BadInput: no worst case has the wanted one.
    """
    having = [radius for each in submissions if each.worst_case for radius in each.worst_case.counts]
    if wanted is not None and wanted not in having:
        there = ", ".join(map(str, sorted(set(having)))) or "none"
        raise BadInput(f"radius={wanted}: no results have a worst case there, must be one of: {there}")
    if wanted is not None or WORST_RADIUS in having or not having:
        return WORST_RADIUS if wanted is None else wanted
    return min(having, key=lambda radius: (-having.count(radius), radius))


def make_boards(submissions: Sequence[Submission], radius: int) -> list[Board]:
    """The boards, by data set and number of images, the most images first.

    Args:
        submissions: in any order.
        radius: in levels, of the worst case that they are ranked by.
    """
    by_images: dict[tuple[str, int, tuple[str, ...]], list[Submission]] = {}
    for each in submissions:
        by_images.setdefault((each.images.dataset, each.images.n, each.images.kind), []).append(each)
    boards = []
    for (dataset, n, kind), group in sorted(by_images.items(), key=lambda item: (item[0][0], -item[0][1], item[0][2])):
        for subset, members in _by_subset(group):
            chosen = () if subset is None else (f"chosen with split_seed {subset}",)
            boards.append(Board(dataset, n, ", ".join((*kind, *chosen)), _classes(members, radius)))
    return _without_the_obvious(boards)


def _by_subset(group: Sequence[Submission]) -> list[tuple[int | None, list[Submission]]]:
    """Those on the same choice of images; where one has tested all images of the data set, all of them have."""
    if any(each.images.subset is None for each in group):
        return [(None, list(group))]
    ordered = sorted(group, key=_subset)
    return [(subset, list(members)) for subset, members in groupby(ordered, key=_subset)]


def _subset(submission: Submission) -> int:
    return submission.images.subset or 0


def _without_the_obvious(boards: Sequence[Board]) -> list[Board]:
    """The same boards; what tells images apart is said only where data set and number do not."""
    named = [(board.dataset, board.n) for board in boards]
    return [
        board if named.count(name) > 1 else Board(board.dataset, board.n, "", board.classes)
        for name, board in zip(named, boards, strict=True)
    ]


def class_of(submission: Submission, radius: int) -> str:
    """What an entry is ranked by. A worst case counts only if its panel ran, and without a failed check."""
    worst = submission.worst_case
    if worst is None or radius not in worst.counts:
        return CLEAN
    if submission.panel.verdict in ("failed", "not measured"):
        return UNTRUSTED
    return SHORT if worst.short else FULL


def _classes(members: Sequence[Submission], radius: int) -> dict[str, list[Place]]:
    found = {}
    for kind in (FULL, SHORT, CLEAN, UNTRUSTED):
        ordered = sorted(
            (each for each in members if class_of(each, radius) == kind),
            key=lambda each: (_wrong(each, radius), each.clean.n_wrong, each.entry.name, each.place),
        )
        wrong = [_wrong(each, radius) for each in ordered]
        if ordered:
            ranks = [None if kind == UNTRUSTED else wrong.index(count) + 1 for count in wrong]
            found[kind] = [Place(rank, each) for rank, each in zip(ranks, ordered, strict=True)]
    return found


def _wrong(submission: Submission, radius: int) -> int:
    """Wrong images that decide the rank: all entries of a board have the same number of images."""
    worst = submission.worst_case
    return worst.counts[radius].n_wrong if worst and radius in worst.counts else submission.clean.n_wrong
