"""The difference of two sides and its interval: the one rule for the cells of a table and for the command compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from p2be_exp.report.comparable import check_images
from p2be_exp.report.measured import Measured
from p2be_exp.statistics.intervals import paired_bootstrap, paired_t_interval, welch_interval

KINDS = {
    "paired": "paired t interval over the seeds that both sides have: a seed gives both the same order of images and "
    "the same augmentations, so that seeds are compared one by one",
    "welch": "Welch's interval over seeds: the sides have no seed in common, and are taken as independent",
    "networks": "paired bootstrap over the test images of two networks, one of each side: it is about these two "
    "networks, not about the methods",
}
"""How an interval was made, by kind."""

RESAMPLES = 10_000
"""Resamples of the images behind the interval of two networks."""


@dataclass(frozen=True)
class Compared:
    """A difference with its 95 % interval, in points.

    Attributes:
        kind: ``paired``, ``welch``, ``networks``; empty where there is no interval.
        difference, low, high: of the second side minus the first; the ends are None without an interval.
        seeds: those of the two sides that it is from.
        why_not: the reason, where there is no interval.
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
        """Whether there is an interval and 0 is outside; one without width says nothing."""
        return self.low is not None and self.high is not None and self.low < self.high and self.low * self.high > 0

    @property
    def direction(self) -> str:
        """``fewer`` or ``more`` errors; empty where the interval contains 0 or there is none."""
        return "" if not self.excludes_zero else "fewer" if self.difference < 0 else "more"


def signed(points: float) -> str:
    """A difference in points: two decimals with a sign; 0 without one.

    >>> signed(-0.5), signed(0.001), signed(1.0)
    ('-0.50', '0.00', '+1.00')
    """
    text = f"{points:+.2f}"
    return "0.00" if float(text) == 0 else text


def compare_seeds(a: Mapping[int, float], b: Mapping[int, float]) -> Compared:
    """Compare two methods by the errors of their runs.

    In pairs over the seeds that both have, where these are two or more; by Welch where they have none in common. One
    in common is too few for pairs, and the sides are not independent: no interval.

    Args:
        a, b: by seed, two or more, the error in percent.

    Returns:
        The difference, b minus a.
    """
    seeds = tuple(sorted(a)), tuple(sorted(b))
    common = tuple(sorted(set(a) & set(b)))
    if len(common) > 1:
        found = paired_t_interval([a[seed] for seed in common], [b[seed] for seed in common])
        return Compared("paired", *found, seeds=(common, common), in_part=seeds != (common, common))
    of_a, of_b = [a[seed] for seed in seeds[0]], [b[seed] for seed in seeds[1]]
    if common:
        why_not = f"of several seeds the sides have seed {common[0]} alone in common: no pairs, and not independent"
        return Compared("", fmean(of_b) - fmean(of_a), None, None, seeds, why_not)
    return Compared("welch", *welch_interval(of_a, of_b), seeds=seeds)


def compare_networks(
    wrong_a: NDArray[np.bool_],
    wrong_b: NDArray[np.bool_],
    seeds: tuple[int, int],
    weights: Sequence[float] | None = None,
    in_part: bool = False,
) -> Compared:
    """Compare two networks by the test images that both saw.

    Args:
        wrong_a, wrong_b: ``(conditions, images)``, see :func:`wrong_images`.
        seeds: of the two.
        weights: of the conditions; None: their mean.
        in_part: whether a side has further seeds.
    """
    found = paired_bootstrap(wrong_a, wrong_b, weights=weights, resamples=RESAMPLES)
    return Compared("networks", *found, seeds=((seeds[0],), (seeds[1],)), in_part=in_part)


def wrong_images(a: Measured, b: Measured, conditions: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which images two networks classify wrongly, ``(conditions, images)`` each.

    Raises:
        BadInput: they did not see the same images, or the file of a condition's images cannot be used.
    """
    check_images([a, b], conditions)
    one, other = (np.stack([each.images(name).wrong for name in conditions]) for each in (a, b))
    return one, other
