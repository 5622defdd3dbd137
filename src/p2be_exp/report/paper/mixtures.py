"""Mixtures of two runs among the results: for each pair of parts, the errors over the weight of the robust one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from p2be_exp.report.measured import Counts
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.keys import format_value
from p2be_exp.report.paper.measures import SUITES, WORST_RADIUS
from p2be_exp.statistics.intervals import wilson_interval


@dataclass(frozen=True)
class Point:
    """The errors of one mixture, or of a part alone.

    Attributes:
        label: its row in words.
        clean: on the test images.
        attacked: the same under attack, by radius in levels.
        alpha: weight of the robust part; None where it is not one number.
        result: that it was measured in; None in a test.
    """

    label: str
    clean: Counts
    attacked: Mapping[int, Counts]
    alpha: float | None = None
    result: Result | None = None


@dataclass(frozen=True)
class Pair:
    """The mixtures of two runs that were measured in the same way.

    Attributes:
        parts: the runs by role, as the mixtures name them: ``accurate``, ``robust``.
        points: those with a fixed weight, by it, then the others.
        alone: by role, the part itself, where its run is among the results and was measured in the same way.
        attack: the attack that all were measured under; ``none`` without one.
        doubles: runs left out since another run has their place.
    """

    parts: Mapping[str, Path]
    points: tuple[Point, ...]
    alone: Mapping[str, Point] = field(default_factory=dict)
    attack: str = "none"
    doubles: tuple[tuple[Result, Result], ...] = ()

    @property
    def over_alpha(self) -> tuple[Point, ...]:
        """The points with a fixed weight."""
        return tuple(each for each in self.points if each.alpha is not None)

    @property
    def others(self) -> tuple[Point, ...]:
        """The points without one."""
        return tuple(each for each in self.points if each.alpha is None)

    @property
    def rows(self) -> tuple[Point, ...]:
        """Every point in the order of the table: a part alone beside the weight at which the mixture is that part."""
        ends = (self.alone.get("accurate"), self.alone.get("robust"))
        first, last = (() if each is None else (each,) for each in ends)
        return (*first, *self.over_alpha, *last, *self.others)

    @property
    def radii(self) -> tuple[int, ...]:
        """The radii that a point was attacked within, in levels."""
        return tuple(sorted({radius for each in self.rows for radius in each.attacked}))

    @property
    def results(self) -> tuple[Result, ...]:
        """That the points were measured in."""
        return tuple(each.result for each in self.rows if each.result is not None)

    @property
    def worst_case(self) -> bool:
        """Whether the errors under attack are a worst case over several attacks."""
        return self.attack in SUITES

    def radius_drawn(self) -> int | None:
        """The radius of the figure: that of the report's worst case, else the largest; None without a common one."""
        common = [radius for radius in self.radii if all(radius in each.attacked for each in self.points)]
        return WORST_RADIUS if WORST_RADIUS in common else max(common, default=None)


def interval(counts: Counts) -> tuple[float, float]:
    """Wilson's 95 % interval of an error, in percent."""
    low, high = wilson_interval(counts.n_wrong, counts.n)
    return 100 * low, 100 * high


def is_mixture(result: Result) -> bool:
    """Whether a run is a mixture of two others."""
    return bool(result.config.model.roles)


def find_pairs(results: Iterable[Result]) -> list[Pair]:
    """The mixtures among some results, by their parts and the way that they were measured, in the results' order."""
    results = [each for each in results if "clean" in each.counts]
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in filter(is_mixture, results):
        model = result.config.model
        parts = (str(each.resolve()) for each in _parts(result).values())
        scales = (format_value(model.accurate_scale), format_value(model.robust_scale))
        groups.setdefault((*parts, *scales, _measured(result)), []).append(result)
    return [_pair(group, results) for group in groups.values()]


def _pair(group: Sequence[Result], results: Sequence[Result]) -> Pair:
    points: dict[str, Point] = {}
    doubles = []
    for result in group:
        point = _point(result)
        if (first := points.setdefault(point.label, point)) is not point and first.result is not None:
            doubles.append((first.result, result))
    parts = _parts(group[0])
    alone = {}
    for role, folder in parts.items():
        for result in results:
            if result.run_folder == folder.resolve() and _measured(result) == _measured(group[0]):
                alone[role] = Point(f"{role} part alone", result.counts["clean"], attacked(result), result=result)
    ordered = sorted(points.values(), key=lambda each: (each.alpha is None, each.alpha or 0.0, each.label))
    return Pair(parts, tuple(ordered), alone, _attack(group[0]), tuple(doubles))


def _point(result: Result) -> Point:
    model = result.config.model
    alpha = getattr(model, "alpha", None)
    label = model.name if alpha is None else f"alpha = {format_value(alpha)}"
    return Point(label, result.counts["clean"], attacked(result), alpha, result)


def attacked(result: Result) -> dict[int, Counts]:
    """The images that are wrong under attack, by radius in levels.

    The worst case where a suite of attacks is complete there; of a single attack the highest of the rows, since a
    random choice in the ball may stand beside it.
    """
    if _attack(result) in SUITES:
        n = result.counts["clean"].n
        known = {int(radius): error for radius, error in result.worst_case.items() if error is not None}
        return {radius: Counts(round(n * error / 100), n) for radius, error in known.items()}
    found: dict[int, Counts] = {}
    for condition, counts in result.counts.items():
        kind, *_, radius = condition.split("/")
        if kind == "attack" and (best := found.get(int(radius), counts)).n_wrong <= counts.n_wrong:
            found[int(radius)] = max(best, counts, key=lambda each: each.n_wrong)
    return found


def _parts(result: Result) -> dict[str, Path]:
    model = result.config.model
    return {role: Path(getattr(model, role)) for role in model.roles}


def _attack(result: Result) -> str:
    return str((result.settings.get("attack") or {}).get("name", "none"))


def _measured(result: Result) -> str:
    """How a result was measured, as text: points of one curve have all of it in common."""
    settings = result.settings
    same = ("dataset", "test_files", "split_seed", "limit_test", "precision", "checkpoint")
    attack = {key: value for key, value in (settings.get("attack") or {}).items() if key != "save_images"}
    facts = [[settings.get(key) for key in same], result.counts["clean"].n, attack]
    return json.dumps(facts, sort_keys=True)
