"""Intervals for what was counted."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


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
