"""Confidence intervals for proportions and for differences."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# scipy.stats is slow to import, and a typo on the command line must be refused at once: imported where it is used.

_DRAWS_AT_ONCE = 2_000_000
"""Numbers held at once while resampling: 16 MB."""

_SAME = 1e-9
"""Paired differences within this tolerance are equal up to rounding."""


class Difference(NamedTuple):
    """A difference and its confidence interval, in the same unit."""

    difference: float
    low: float
    high: float


def wilson_interval(wrong: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion, without continuity correction.

    Args:
        wrong: number of successes, 0 to n.
        n: number of trials, at least 1.
        confidence: above 0, below 1.

    Returns:
        Lower and upper bound, in [0, 1]; exactly 0 where nothing is wrong, and 1 where everything is.

    Raises:
        ValueError: impossible counts.

    Source: Wilson 1927, by SciPy.

    >>> low, high = wilson_interval(12, 500)
    >>> f"{100 * low:.2f} to {100 * high:.2f}"
    '1.38 to 4.15'
    """
    if n < 1 or not 0 <= wrong <= n:
        raise ValueError(f"{wrong} of {n}: impossible counts")
    from scipy.stats import binomtest

    found = binomtest(wrong, n).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


class Mean(NamedTuple):
    """A mean and its confidence interval, in the same unit."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Mean:
    """Student's interval of a mean of two independent values or more, such as the errors of seeds.

    Args:
        values: finite numbers.
        confidence: above 0, below 1.

    Raises:
        ValueError: a single value has no spread.

    Source: Student 1908, with SciPy's quantile.

    >>> mean, low, high = mean_interval([34.0, 34.4, 34.2])
    >>> f"{mean:.2f}: {low:.2f} to {high:.2f}"
    '34.20: 33.70 to 34.70'
    """
    group = _values(values)
    from scipy.stats import t

    mean = float(group.mean())
    half = float(t.ppf((1 + confidence) / 2, len(group) - 1)) * float(group.std(ddof=1)) / len(group) ** 0.5
    return Mean(mean, mean - half, mean + half)


def welch_interval(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Difference:
    """Interval of the difference of two means, ``mean(b) - mean(a)``, of independent groups of unequal variance.

    Args:
        a: values of one group, at least two; for instance the error of each seed.
        b: values of the other, at least two, in the same unit.
        confidence: above 0, below 1.

    Returns:
        Difference and interval in the unit of the values. Where the values of each group are all
        equal, there is no spread to estimate, and the interval has zero width.

    Raises:
        ValueError: fewer than two values in a group, or a value that is not finite.

    Source: Welch 1947, with the degrees of freedom of Satterthwaite 1946, by SciPy.

    >>> difference, low, high = welch_interval([35.1, 35.4, 35.2], [36.0, 36.3, 36.6])
    >>> f"{difference:.2f}: {low:.2f} to {high:.2f}"
    '1.07: 0.44 to 1.69'
    """
    one, other = _values(a), _values(b)
    difference = float(other.mean() - one.mean())
    spread = max(np.ptp(one), np.ptp(other))
    if spread == 0:
        return Difference(difference, difference, difference)
    # Scaled to the spread by a power of 2, which rounds nothing: squares of tiny variances would underflow to 0.
    unit = np.ldexp(1.0, int(np.frexp(spread)[1]))
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss")  # where only one of the groups has spread
        found = ttest_ind(other / unit, one / unit, equal_var=False).confidence_interval(confidence)
    return Difference(difference, float(found.low * unit), float(found.high * unit))


def paired_t_interval(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Difference:
    """Interval of the mean of ``b - a`` for paired values.

    Args:
        a, b: at least two values each, in the same order; for instance the errors of the same seeds.
        confidence: above 0, below 1.

    Returns:
        Mean difference and Student's interval; of zero width where all differences are equal.

    Raises:
        ValueError: fewer than two values, a value that is not finite, or groups of different lengths.

    Source: Student 1908, by SciPy.

    >>> difference, low, high = paired_t_interval([35.1, 35.4, 35.2], [34.0, 34.5, 34.3])
    >>> f"{difference:.2f}: {low:.2f} to {high:.2f}"
    '-0.97: -1.25 to -0.68'
    """
    one, other = _values(a), _values(b)
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} values cannot be paired")
    steps = other - one
    mean = float(steps.mean())
    if np.ptp(steps) <= _SAME:
        return Difference(mean, mean, mean)
    from scipy.stats import ttest_rel

    found = ttest_rel(other, one).confidence_interval(confidence)
    return Difference(mean, float(found.low), float(found.high))


def _values(group: Sequence[float]) -> NDArray[np.float64]:
    """The values of a group, ``(n,)``, checked."""
    values = np.asarray(group, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"each group must have at least two values, found shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("a value is not finite")
    return values


def paired_bootstrap(
    wrong_a: ArrayLike,
    wrong_b: ArrayLike,
    weights: ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Interval of the difference of two networks' error rates on the same images, by resampling the images.

    For several conditions the weighted sums of the error rates are compared. The conditions show the same images, so a
    resample takes an image with all its conditions. Each image then contributes one number, its weighted difference
    ``d``, and the mean of a resample depends only on how often each value of ``d`` was drawn: a multinomial over the
    few distinct values instead of one over all images, with exactly the same distribution.

    Args:
        wrong_a: whether the first network is wrong, bool ``(images,)`` or ``(conditions, images)``.
        wrong_b: the same of the second.
        weights: weights of the conditions, ``(conditions,)``; None: equal, with sum 1.
        confidence: above 0, below 1.
        resamples: number of resamples.
        seed: seed for the resampling.

    Returns:
        Error rate of b minus that of a in percentage points, and the percentile interval.

    Raises:
        ValueError: shapes that do not match, or no images.

    Source: Efron 1979.
    """
    per_image = _weighted_difference(wrong_a, wrong_b, weights)
    # Sums of the same weights in a different order may differ in the last bits; they count as one value.
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
        raise ValueError(f"shapes {a.shape} and {b.shape}: must cover the same images in the same conditions")
    shares = np.full(len(a), 1 / len(a)) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(a),):
        raise ValueError(f"weights of shape {shares.shape} for {len(a)} conditions")
    return shares @ (b.astype(np.int8) - a.astype(np.int8))
