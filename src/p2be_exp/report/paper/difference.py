"""The difference of two cells of a table, and the interval that goes with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy.special import stdtrit

from p2be_exp.errors import BadInput
from p2be_exp.report.comparable import check_images
from p2be_exp.report.paper.gather import KEY, Result
from p2be_exp.report.paper.measures import weights
from p2be_exp.statistics.intervals import Difference, paired_bootstrap, welch_interval

KINDS = {
    "paired": "paired t interval over the seeds that both sides have: a seed gives both the same order of images and "
    "the same augmentations, so that seeds are compared one by one",
    "welch": "Welch's interval over seeds: the sides have no seed in common, and are taken as independent",
    "networks": "paired bootstrap over the test images of two networks, one of each side: it is about these two "
    "networks, not about the methods",
}
"""How an interval was made, by kind."""


@dataclass(frozen=True)
class Compared:
    """A difference with its 95 % interval, in points.

    Attributes:
        kind: ``paired``, ``welch``, ``networks``; empty where there is no interval.
        difference, low, high: of the cell minus its reference; the ends are None without an interval.
        seeds: those of the two sides that it is from, reference first.
        why_not: why there is no interval.
        in_part: a side has more seeds than these, so that it is not the difference of the two means.
    """

    kind: str
    difference: float
    low: float | None
    high: float | None
    seeds: tuple[tuple[int, ...], tuple[int, ...]]
    why_not: str = ""
    in_part: bool = False

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and 0 is outside; one without width tells nothing."""
        return self.low is not None and self.high is not None and self.low < self.high and self.low * self.high > 0


def paired_t_interval(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Difference:
    """Interval of the mean of ``b - a``, of values that belong together in pairs.

    Args:
        a, b: at least two values each, in the same order; for instance the errors of the same seeds.
        confidence: above 0, below 1.

    Returns:
        Mean difference and Student's interval; of no width where all differences are equal.

    Raises:
        ValueError: fewer than two pairs, or values without partners.

    Source: Student 1908.

    >>> difference, low, high = paired_t_interval([35.1, 35.4, 35.2], [34.0, 34.5, 34.3])
    >>> f"{difference:.2f}: {low:.2f} to {high:.2f}"
    '-0.97: -1.25 to -0.68'
    """
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"{len(a)} and {len(b)} values: at least two pairs are needed")
    steps = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    mean = float(steps.mean())
    # Equal up to rounding: their spread is none.
    if np.ptp(steps) <= 1e-9:
        return Difference(mean, mean, mean)
    half = float(stdtrit(len(steps) - 1, (1 + confidence) / 2)) * float(steps.std(ddof=1)) / math.sqrt(len(steps))
    return Difference(mean, mean - half, mean + half)


def compare_cells(
    reference: Mapping[int, tuple[Result, float]], cell: Mapping[int, tuple[Result, float]], measure: str
) -> Compared:
    """Compare the runs of two cells.

    Two seeds or more on each side: in pairs over the seeds that both have, where these are two or more; by Welch where
    they have none in common. One in common is too few for pairs, and the sides are not independent: no interval.
    With a single seed on a side: one network of each, of the same seed where both have it, over the test images that
    both saw.

    Args:
        reference: by seed, the run and its value in percent.
        cell: the same of the other side.
        measure: what the values are.

    Returns:
        The difference, cell minus reference.
    """
    seeds = tuple(sorted(reference)), tuple(sorted(cell))
    if min(map(len, seeds)) < 2:
        return _networks(reference, cell, measure)
    common = tuple(sorted(set(reference) & set(cell)))
    if len(common) > 1:
        a, b = ([side[seed][1] for seed in common] for side in (reference, cell))
        in_part = seeds != (common, common)
        return Compared("paired", *paired_t_interval(a, b), seeds=(common, common), in_part=in_part)
    a, b = ([side[seed][1] for seed in order] for side, order in zip((reference, cell), seeds, strict=True))
    if common:
        why_not = f"of several seeds the sides have seed {common[0]} alone in common: no pairs, and not independent"
        return Compared("", fmean(b) - fmean(a), None, None, seeds, why_not)
    return Compared("welch", *welch_interval(a, b), seeds=seeds)


def _networks(
    reference: Mapping[int, tuple[Result, float]], cell: Mapping[int, tuple[Result, float]], measure: str
) -> Compared:
    common = sorted(set(reference) & set(cell))
    one, other = (common[0], common[0]) if common else (min(reference), min(cell))
    (a, error_a), (b, error_b) = reference[one], cell[other]
    seeds, in_part = ((one,), (other,)), len(reference) > 1 or len(cell) > 1
    shares = weights(a, measure)
    try:
        if shares is None or shares != weights(b, measure):
            raise BadInput("not measured under the same conditions")
        conditions = list(shares)
        check_images([a.measured, b.measured], conditions)
        wrong_a, wrong_b = (np.stack([each.measured.images(name).wrong for name in conditions]) for each in (a, b))
    except BadInput as error:
        return Compared("", error_b - error_a, None, None, seeds, str(error).removeprefix(f"{KEY}="), in_part)
    found = paired_bootstrap(wrong_a, wrong_b, weights=list(shares.values()))
    return Compared("networks", *found, seeds=seeds, in_part=in_part)
