"""Mixtures of two runs among the results: for each pair of parts, the errors over the weight of the robust one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from p2be_exp.config.parts import as_asked
from p2be_exp.config.typed import plain
from p2be_exp.report.measured import Counts
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.keys import format_value
from p2be_exp.report.paper.measures import SUITES, WORST_RADIUS
from p2be_exp.report.paper.tables import option_label
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


_FIXED = "mix"
"""The model whose weight is one number that the user chooses."""


class Part(NamedTuple):
    """A part: the folder of its run, as the mixtures name it, and how and what it was trained, in words."""

    folder: Path
    trained: str = ""


@dataclass(frozen=True)
class Pair:
    """The mixtures of two runs that were measured in the same way.

    Attributes:
        parts: the runs by role: ``accurate``, ``robust``.
        points: those with a fixed weight, by it, then the others.
        alone: by role, the part itself, where its run is among the results and was measured in the same way.
        attack: the attack that all were measured under; ``none`` without one.
        doubles: runs left out since another run has their place.
    """

    parts: Mapping[str, Part]
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
    """The mixtures among some results, by their parts and the way that they were measured, in the results' order.

    Those with a fixed weight (``model=mix``) are of one curve if they scale the parts' logits alike; other mixtures of
    the same parts are beside the first of their curves.
    """
    results = [each for each in results if "clean" in each.counts]
    groups: dict[tuple[str, ...], dict[str, list[Result]]] = {}
    for result in filter(is_mixture, results):
        curves = groups.setdefault((*_identities(result), _measured(result)), {})
        curves.setdefault(_scales(result), []).append(result)
    return [_pair(group, results) for curves in groups.values() for group in _with_others(curves)]


def _scales(result: Result) -> str:
    """What tells the curves of two parts apart; empty of a mixture that is on none."""
    model = result.config.model
    fixed = model.name == _FIXED
    return " ".join(format_value(getattr(model, f"{role}_scale")) for role in model.roles) if fixed else ""


def _with_others(curves: Mapping[str, list[Result]]) -> list[list[Result]]:
    """The results of each curve, those that are on none with the first."""
    others = curves.get("", [])
    fixed = [group for scales, group in curves.items() if scales]
    return [[*fixed[0], *others], *fixed[1:]] if fixed else [others]


def _pair(group: Sequence[Result], results: Sequence[Result]) -> Pair:
    points: dict[str, Point] = {}
    doubles = []
    for result in group:
        point = _point(result)
        first = points.get(point.label)
        if first is None or first.result is None:
            points[point.label] = point
        elif _asked(first.result) == _asked(result):
            doubles.append((first.result, result))
        else:
            label = f"{point.label} ({result.folder})"
            points[label] = replace(point, label=label)
    measured = _measured(group[0])
    alone = {
        role: Point(f"{role} part alone", result.counts["clean"], attacked(result), result=result)
        for role in group[0].config.model.roles
        for result in results
        if result.run_folder == _folder(group[0], role).resolve() and _measured(result) == measured
    }
    ordered = sorted(points.values(), key=lambda each: (each.alpha is None, each.alpha or 0.0, each.label))
    parts = {role: Part(*_in_words(group[0], role)) for role in group[0].config.model.roles}
    return Pair(parts, tuple(ordered), alone, _attack(group[0]), tuple(doubles))


def _point(result: Result) -> Point:
    model = result.config.model
    alpha = getattr(model, "alpha", None) if model.name == _FIXED else None
    label = option_label(model.name) if alpha is None else f"alpha = {format_value(alpha)}"
    return Point(label, result.counts["clean"], attacked(result), alpha, result)


def _asked(result: Result) -> str:
    """What a mixture is beside its parts, as text."""
    config = result.config
    model = {key: value for key, value in as_asked(config)["model"].items() if key not in config.model.roles}
    training = [plain(config.regime), config.epochs, config.seed] if config.regime.trains else []
    return json.dumps([model, training], sort_keys=True)


def attacked(result: Result) -> dict[int, Counts]:
    """The images that are wrong under attack, by radius in levels.

    The worst case where a suite of attacks is complete there; of a single attack the highest of the rows, since a
    random choice in the ball may stand beside it.
    """
    if _attack(result) in SUITES:
        n, errors = result.counts["clean"].n, result.worst_case
        known = {radius: error for radius, error in errors.items() if error is not None and 0 <= error <= 100}
        return {int(radius): Counts(round(n * error / 100), n) for radius, error in known.items() if radius.isdecimal()}
    found: dict[int, Counts] = {}
    for condition, counts in result.counts.items():
        kind, _, of = condition.partition("/")
        if kind == "attack" and (radius := of.rpartition("/")[2]).isdecimal():
            beside = found.get(int(radius), counts)
            found[int(radius)] = max(beside, counts, key=lambda each: each.n_wrong)
    return found


def _facts(result: Result, role: str) -> Mapping[str, Any]:
    """What the ``run.json`` of a mixture says of a part; empty where it is of another form."""
    facts = result.info.get("parts")
    found = facts.get(role) if isinstance(facts, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _folder(result: Result, role: str) -> Path:
    """Where a part's run was: the name in the configuration is relative to where the mixture was made."""
    return Path(str(_facts(result, role).get("path") or getattr(result.config.model, role)))


def _identities(result: Result) -> list[str]:
    """What tells the parts of mixtures apart: their weights, else where they were."""
    roles = result.config.model.roles
    return [str(_facts(result, role).get("checkpoint_sha256") or _folder(result, role).resolve()) for role in roles]


def _in_words(result: Result, role: str) -> tuple[Path, str]:
    """The folder of a part as the user named it; its regime and network."""
    nodes = (result.config.model.parts or {}).get(role, {})
    regime = _facts(result, role).get("regime")
    groups = [
        regime if isinstance(regime, Mapping) else {},
        *(nodes.get(group, {}) for group in ("encoding", "backbone")),
    ]
    names = [option_label(str(each["name"])) for each in groups if "name" in each]
    return Path(getattr(result.config.model, role)), ", ".join(names)


def _attack(result: Result) -> str:
    return str((result.settings.get("attack") or {}).get("name", "none"))


def _measured(result: Result) -> str:
    """How a result was measured, as text: points of one curve have all of it in common."""
    settings = result.settings
    same = ("dataset", "test_files", "split_seed", "limit_test", "precision", "checkpoint")
    attack = {key: value for key, value in (settings.get("attack") or {}).items() if key != "save_images"}
    facts = [[settings.get(key) for key in same], result.counts["clean"].n, attack]
    return json.dumps(facts, sort_keys=True)
