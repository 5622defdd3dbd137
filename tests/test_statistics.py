"""The Wilson interval against SciPy's."""

import pytest
from scipy.stats import binomtest, norm

from p2be_exp.statistics import Z_95, wilson_interval

COUNTS = [(k, n) for n in (1, 2, 3, 10, 97, 500, 10_000) for k in sorted({0, 1, n // 3, n // 2, n - 1, n}) if k <= n]


@pytest.mark.parametrize(("k", "n"), COUNTS)
def test_scipys_interval(k, n):
    expected = binomtest(k, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_another_confidence():
    expected = binomtest(12, 500).proportion_ci(confidence_level=0.99, method="wilson")
    assert wilson_interval(12, 500, z=norm.ppf(0.995)) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_quantile():
    assert norm.ppf(0.975) == pytest.approx(Z_95, abs=1e-15)


@pytest.mark.parametrize("n", [1, 7, 1000, 999_983])
def test_the_ends_are_exact(n):
    assert wilson_interval(0, n)[0] == 0.0
    assert wilson_interval(n, n)[1] == 1.0
    assert 0 < wilson_interval(0, n)[1] < 1
    assert 0 < wilson_interval(n, n)[0] < 1


@pytest.mark.parametrize(("wrong", "n"), [(0, 0), (-1, 5), (6, 5), (0, -1)])
def test_counts_that_cannot_be(wrong, n):
    with pytest.raises(ValueError, match=f"{wrong} of {n}"):
        wilson_interval(wrong, n)
