"""Whether two trained networks differ on the same images: McNemar's test, and Holm's correction for many tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value of McNemar's test.

    If the two networks are equally good, an image that one alone gets wrong is as likely to be one's as the other's.

    Args:
        only_a: number of images that the first network alone gets wrong.
        only_b: number that the second alone gets wrong.

    Returns:
        Probability, under that hypothesis, of counts at least as unequal; 1 where there is no such image.

    Raises:
        ValueError: negative counts.

    Source: McNemar 1947, with the binomial distribution in place of its approximation; by SciPy.

    >>> mcnemar(1, 9)
    0.021484375
    """
    if only_a < 0 or only_b < 0:
        raise ValueError(f"{only_a} and {only_b}: counts cannot be negative")
    if only_a + only_b == 0:
        return 1.0
    from scipy.stats import binomtest  # here because it takes long to import

    return float(binomtest(only_a, only_a + only_b).pvalue)


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Adjusted p-values of tests made together: below alpha where the test is rejected by Holm's procedure at alpha.

    The chance of one false rejection or more is then at most alpha, however the tests depend on each other.

    Args:
        p_values: ``(tests,)``, each from 0 to 1.

    Returns:
        ``(tests,)`` in the same order, at most 1.

    Raises:
        ValueError: a value that is no probability.

    Source: Holm 1979.

    >>> [round(float(p), 6) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("a p-value is no number from 0 to 1")
    order = np.argsort(p)
    stepwise = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(stepwise))
    return adjusted
