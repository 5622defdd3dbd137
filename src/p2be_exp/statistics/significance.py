"""Whether two trained networks differ on the same images: McNemar's test, and Holm's correction for many tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value of McNemar's test.

    If the two networks are equally good, an image that only one of them gets wrong is equally likely for either.

    Args:
        only_a: number of images that only the first network gets wrong.
        only_b: number of images that only the second gets wrong.

    Returns:
        Probability, under that hypothesis, of counts at least as unequal; 1 where there is no such image.

    Raises:
        ValueError: negative counts.

    Source: McNemar 1947, with the exact binomial distribution instead of its approximation; by SciPy.

    >>> mcnemar(1, 9)
    0.021484375
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"{only_a} and {only_b}: counts cannot be negative")
    if only_a + only_b == 0:
        return 1.0
    from scipy.stats import binomtest  # slow to import

    return float(binomtest(only_a, only_a + only_b).pvalue)


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Holm-adjusted p-values of a family of tests: at most alpha where Holm's procedure rejects at level alpha.

    The probability of any false rejection is then at most alpha, whatever the dependence between the tests.

    Args:
        p_values: ``(tests,)``, each from 0 to 1.

    Returns:
        ``(tests,)`` in the same order, at most 1.

    Raises:
        ValueError: a value outside [0, 1].

    Source: Holm 1979.

    >>> [round(float(p), 6) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must be between 0 and 1")
    order = np.argsort(p)
    stepwise = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(stepwise))
    return adjusted
