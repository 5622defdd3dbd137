"""Comparing two methods by the seeds of each, or two trained networks by their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2be_exp.corruptions.names import ALL, CATEGORIES, EXTRA, SEVERITIES, TEST
from p2be_exp.errors import BadInput
from p2be_exp.report.comparable import (
    check_apart,
    check_group,
    check_images,
    check_settings,
    common_conditions,
    conditions_left_out,
    conditions_of,
    config_differences,
    mean_over,
)
from p2be_exp.report.difference import RESAMPLES, Compared, compare_networks, compare_seeds, wrong_images
from p2be_exp.report.measured import Measured
from p2be_exp.runs.provenance import now, versions
from p2be_exp.runs.run import FORMAT_VERSION
from p2be_exp.statistics.significance import holm, mcnemar


@dataclass(frozen=True)
class Quantity:
    """A mean error that is compared: the plain mean over conditions.

    Attributes:
        name: ``clean``, ``mean_corruption_error``, ``category/NAME`` or ``corruption/NAME``.
        conditions: what the mean is over.
        over: the same in words; empty for clean images.
    """

    name: str
    conditions: tuple[str, ...]
    over: str = ""


@dataclass(frozen=True)
class ComparedRow:
    """One quantity, or one condition, of both sides. Errors in percent, differences B - A in points.

    Attributes:
        kind: ``mean`` (with an interval) or ``condition`` (with a test).
        name: of the quantity or the condition.
        over: what a mean is over.
        error_a, error_b: of a group the mean over its seeds.
        difference: B - A; of groups that are compared in pairs, over the seeds that both have.
        sd_a, sd_b: standard deviation between the seeds of a group.
        ci_low, ci_high: 95 % interval of the difference.
        only_a_wrong, only_b_wrong: number of images that only one of the networks gets wrong.
        p: of McNemar's test.
        p_holm: the same, adjusted for all conditions that were tested.
    """

    kind: str
    name: str
    over: str
    error_a: float
    error_b: float
    difference: float
    sd_a: float | None = None
    sd_b: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    only_a_wrong: int | None = None
    only_b_wrong: int | None = None
    p: float | None = None
    p_holm: float | None = None


def compare(a: Sequence[Measured], b: Sequence[Measured]) -> dict[str, Any]:
    """Compare two groups of runs, or two single runs.

    Two groups, of at least two runs each: see :func:`p2be_exp.report.difference.compare_seeds`. Two runs: the
    difference with a bootstrap interval over the images that both saw, and McNemar's test for each condition,
    corrected by Holm.

    Args:
        a, b: results of the runs of each side.

    Returns:
        What is compared, how, and ``rows``, each a :class:`ComparedRow` as a dictionary; plain values for a JSON file.
        ``interval`` says how the intervals of the means were made, and from which seeds.

    Raises:
        BadInput: the results cannot be compared.
    """
    _check_sizes(a, b)
    for group in (a, b):
        check_group(group)
    check_apart(a, b)
    check_settings([*a, *b])
    conditions = common_conditions([*a, *b])
    groups = len(a) > 1
    if groups:
        check_images([*a, *b], conditions)
        wrong = None
    else:
        wrong = dict(zip(conditions, zip(*wrong_images(a[0], b[0], conditions), strict=True), strict=True))
    means = [_mean(quantity, a, b, wrong) for quantity in quantities(conditions)]
    rows = [*(row for row, _ in means), *(_tested(wrong) if wrong else [])]
    return {
        "format_version": FORMAT_VERSION,
        "kind": "groups" if groups else "networks",
        "a": _runs(a),
        "b": _runs(b),
        "one_run": not groups and a[0].run_folder == b[0].run_folder,
        "differ_in": {key: list(values) for key, values in config_differences(a[0], b[0]).items()},
        "settings": a[0].settings,
        "n_images": a[0].counts[conditions[0]].n,
        "confidence": 0.95,
        "interval": _how(means[0][1]),
        "resamples": None if groups else RESAMPLES,
        "left_out": conditions_left_out(a, b),
        "rows": [asdict(row) for row in rows],
        "versions": versions(),
        "written": now(),
    }


def quantities(conditions: Sequence[str]) -> list[Quantity]:
    """The mean errors that some conditions allow.

    The mean corruption error and those of the categories are over corruptions that are complete: that have every
    severity that any of the conditions has. The extra four are a category of their own and in no other mean.

    >>> [quantity.name for quantity in quantities(["clean", "corruption/fog/3"])]
    ['clean', 'mean_corruption_error', 'category/weather', 'corruption/fog']
    """
    cells = {name: [s for s in SEVERITIES if f"corruption/{name}/{s}" in conditions] for name in ALL}
    severities = [s for s in SEVERITIES if any(s in there for there in cells.values())]
    complete = [name for name in ALL if severities and cells[name] == severities]

    def mean(label: str, names: tuple[str, ...]) -> Quantity:
        there = [name for name in names if name in complete]
        return Quantity(label, conditions_of(there, severities), mean_over(there, names, severities))

    found = [
        Quantity("clean", ("clean",) if "clean" in conditions else ()),
        mean("mean_corruption_error", TEST),
        *(mean(f"category/{category}", names) for category, names in {**CATEGORIES, "extra": EXTRA}.items()),
        *(
            Quantity(f"corruption/{name}", conditions_of([name], of), f"severity {' '.join(map(str, of))}")
            for name, of in cells.items()
        ),
    ]
    return [quantity for quantity in found if quantity.conditions]


def _check_sizes(a: Sequence[Measured], b: Sequence[Measured]) -> None:
    if min(len(a), len(b)) == 1 < max(len(a), len(b)):
        single = a[0] if len(a) == 1 else b[0]
        raise BadInput(f"{single}: one run against several; both sides must have one run, or both two or more")


def _runs(group: Sequence[Measured]) -> list[dict[str, Any]]:
    return [
        {
            "folder": str(each.folder),
            "seed": each.seed,
            "checkpoint": each.settings.get("checkpoint"),
            "step": each.settings.get("step"),
        }
        for each in group
    ]


def _how(compared: Compared) -> dict[str, Any]:
    """How an interval was made: the same for every mean, since all are of the same runs."""
    seeds_a, seeds_b = map(list, compared.seeds)
    return {
        "kind": compared.kind or None,
        "seeds_a": seeds_a,
        "seeds_b": seeds_b,
        "in_part": compared.in_part,
        "why_not": compared.why_not or None,
    }


_Wrong = Mapping[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]
"""By condition, which images each of two networks classifies wrongly, ``(images,)``."""


def _mean(
    quantity: Quantity, a: Sequence[Measured], b: Sequence[Measured], wrong: _Wrong | None
) -> tuple[ComparedRow, Compared]:
    """A mean error of both sides: of two networks, whose images are given, or else of groups of seeds."""
    of_a, of_b = ({each.seed: _error(quantity, each) for each in side} for side in (a, b))
    if wrong is None:
        compared = compare_seeds(of_a, of_b)
    else:
        wrong_a, wrong_b = map(np.stack, zip(*(wrong[name] for name in quantity.conditions), strict=True))
        compared = compare_networks(wrong_a, wrong_b, (a[0].seed, b[0].seed))
    row = ComparedRow(
        "mean",
        quantity.name,
        quantity.over,
        error_a=fmean(of_a.values()),
        error_b=fmean(of_b.values()),
        difference=compared.difference,
        sd_a=stdev(of_a.values()) if len(a) > 1 else None,
        sd_b=stdev(of_b.values()) if len(b) > 1 else None,
        ci_low=compared.low,
        ci_high=compared.high,
    )
    return row, compared


def _error(quantity: Quantity, measured: Measured) -> float:
    return fmean(measured.counts[condition].error for condition in quantity.conditions)


def _tested(wrong: _Wrong) -> list[ComparedRow]:
    """McNemar's test of each condition."""
    only = [(int((a & ~b).sum()), int((b & ~a).sum())) for a, b in wrong.values()]
    p = [mcnemar(*counts) for counts in only]
    return [
        ComparedRow(
            "condition",
            condition,
            "",
            error_a=100 * float(a.mean()),
            error_b=100 * float(b.mean()),
            difference=100 * (only_b - only_a) / len(a),
            only_a_wrong=only_a,
            only_b_wrong=only_b,
            p=of_condition,
            p_holm=float(adjusted),
        )
        for (condition, (a, b)), (only_a, only_b), of_condition, adjusted in zip(
            wrong.items(), only, p, holm(p), strict=True
        )
    ]
