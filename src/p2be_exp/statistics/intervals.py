"""Intervals for what was counted, and for differences of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

Z_95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""

_DRAWS_AT_ONCE = 2_000_000
"""Numbers held at once while resampling: 16 MB."""


class Difference(NamedTuple):
    """A difference and the interval around it, in one unit."""

    difference: float
    low: float
    high: float


def wilson_interval(wrong: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a proportion, without continuity correction.

    Args:
        wrong: number of successes, 0 to n.
        n: number of trials, at least 1.
        z: normal quantile; the default gives 95 %.

    Returns:
        Lower and upper end, in [0, 1].

    Raises:
        ValueError: counts that cannot be.

    Source: Wilson 1927.

    >>> low, high = wilson_interval(12, 500)
    >>> f"{100 * low:.2f} to {100 * high:.2f}"
    '1.38 to 4.15'
    """
    if n < 1 or not 0 <= wrong <= n:
        raise ValueError(f"{wrong} of {n} cannot be")
    p = wrong / n
    denominator = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / denominator
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / denominator
    # Exact at the ends, where rounding could leave [0, 1].
    return (0.0 if wrong == 0 else max(0.0, centre - half)), (1.0 if wrong == n else min(1.0, centre + half))


def welch_interval(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Difference:
    """Interval of the difference of two means, ``mean(b) - mean(a)``, of independent groups of unequal variance.

    Args:
        a: values of one group, at least two; for instance the error of each seed.
        b: values of the other, at least two, in the same unit.
        confidence: above 0, below 1.

    Returns:
        Difference and interval in the unit of the values. Where no value differs from the others of its group, in
        both groups, there is no spread to judge by, and the interval has no width.

    Raises:
        ValueError: fewer than two values in a group, or one that is not finite.

    Source: Welch 1947; degrees of freedom of Satterthwaite 1946.

    >>> difference, low, high = welch_interval([35.1, 35.4, 35.2], [36.0, 36.3, 36.6])
    >>> f"{difference:.2f}: {low:.2f} to {high:.2f}"
    '1.07: 0.44 to 1.69'
    """
    groups = [np.asarray(group, dtype=np.float64) for group in (a, b)]
    for group in groups:
        if group.ndim != 1 or len(group) < 2:
            raise ValueError(f"at least two values a group are needed, not shape {group.shape}")
        if not np.isfinite(group).all():
            raise ValueError("a value is not finite")
    difference = float(groups[1].mean() - groups[0].mean())
    # Equal values exactly: their mean may be rounded, and their variance would come out above 0.
    squared_errors = [0.0 if (group == group[0]).all() else group.var(ddof=1) / len(group) for group in groups]
    total = sum(squared_errors)
    if total == 0:
        return Difference(difference, difference, difference)
    # From shares of the total: squares of tiny variances would be 0.
    shares = [error / total for error in squared_errors]
    freedom = 1 / sum(share**2 / (len(group) - 1) for share, group in zip(shares, groups, strict=True))
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * math.sqrt(total)
    return Difference(difference, difference - half, difference + half)


def paired_bootstrap(
    wrong_a: ArrayLike,
    wrong_b: ArrayLike,
    weights: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Interval of the difference of two networks' error rates on the same images, by resampling the images.

    Of several conditions the weighted sum of the error rates is compared. The conditions show the same images, so a
    resample takes an image with all its conditions. What is resampled is then one number an image, its weighted
    difference ``d``, and the mean of a resample depends only on how often each value of ``d`` was drawn: a multinomial
    over the few distinct values instead of one over all images, with exactly the same distribution.

    Args:
        wrong_a: whether the first network is wrong, bool ``(images,)`` or ``(conditions, images)``.
        wrong_b: the same of the second.
        weights: of the conditions, ``(conditions,)``; None: all equal, of sum 1.
        confidence: above 0, below 1.
        resamples: number of resamples.
        seed: of the resampling.

    Returns:
        Error rate of b minus that of a in points (percent), and the percentile interval.

    Raises:
        ValueError: shapes that do not fit, or no image.

    Source: Efron 1979.
    """
    per_image = _weighted_difference(wrong_a, wrong_b, weights)
    # Sums of the same weights in another order may differ in the last bits; they are one value.
    values, counts = np.unique(np.round(per_image, 12), return_counts=True)
    generator = np.random.default_rng(seed)
    images, block = len(per_image), max(1, _DRAWS_AT_ONCE // len(values))
    means = np.concatenate(
        [
            generator.multinomial(images, counts / images, size=min(block, resamples - start)) @ values / images
            for start in range(0, resamples, block)
        ]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Difference(100 * float(per_image.mean()), 100 * float(low), 100 * float(high))


def _weighted_difference(wrong_a: ArrayLike, wrong_b: ArrayLike, weights: ArrayLike | None) -> NDArray[np.float64]:
    """For each image the sum over conditions of weight times (wrong_b - wrong_a), ``(images,)``."""
    a, b = (np.atleast_2d(np.asarray(wrong, dtype=bool)) for wrong in (wrong_a, wrong_b))
    if a.shape != b.shape or a.ndim != 2 or a.size == 0:
        raise ValueError(f"shapes {a.shape} and {b.shape}: the same images, in the same conditions, are needed")
    shares = np.full(len(a), 1 / len(a)) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(a),):
        raise ValueError(f"weights of shape {shares.shape} for {len(a)} conditions")
    return shares @ (b.astype(np.int8) - a.astype(np.int8))
