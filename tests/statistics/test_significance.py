"""McNemar's test against exact fractions and by enumeration, Holm's correction against its definition."""

import doctest
import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from p2be_exp.statistics import significance
from p2be_exp.statistics.significance import holm, mcnemar


@pytest.mark.parametrize(("a", "b"), [(0, 1), (1, 0), (3, 3), (0, 12), (7, 2), (40, 61), (61, 40), (480, 610)])
def test_the_exact_binomial_probability(a, b):
    tail = sum(Fraction(comb(a + b, k), 2 ** (a + b)) for k in range(min(a, b) + 1))
    assert mcnemar(a, b) == pytest.approx(float(min(1, 2 * tail)), rel=1e-9)


@pytest.mark.parametrize("total", [1, 4, 7])
def test_every_way_in_which_the_images_could_have_fallen(total):
    counts = [sum(way) for way in itertools.product((0, 1), repeat=total)]
    for a in range(total + 1):
        as_unequal = [abs(2 * count - total) >= abs(2 * a - total) for count in counts]
        assert mcnemar(a, total - a) == pytest.approx(np.mean(as_unequal))


def test_networks_that_never_differ():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0  # at most 1


@pytest.mark.parametrize(("a", "b"), [(-1, 3), (3, -1)])
def test_counts_that_cannot_be(a, b):
    with pytest.raises(ValueError, match="negative"):
        mcnemar(a, b)


def rejected(p, alpha):
    """Holm's procedure as he wrote it: from the smallest on, until one is not below alpha / (tests that are left)."""
    found = set()
    for left, number in zip(range(len(p), 0, -1), np.argsort(p), strict=True):
        if p[number] > alpha / left:
            break
        found.add(int(number))
    return found


def test_holms_procedure():
    generator = np.random.default_rng(0)
    for _ in range(200):
        p = generator.random(generator.integers(1, 9)) ** 3
        adjusted = holm(p)
        for alpha in (0.01, 0.05, 0.2, 0.5):
            assert set(np.flatnonzero(adjusted <= alpha)) == rejected(p, alpha)


def test_adjusted_values_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.03, 0.02, 0.001, 0.5]) == pytest.approx([0.06, 0.06, 0.004, 0.5])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])


def test_adjusted_values_stay_in_order_and_at_most_1():
    p = np.random.default_rng(1).random(75)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert adjusted.max() == 1.0
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_one_test_and_none():
    assert holm([0.3]).tolist() == [0.3]
    assert holm([]).tolist() == []


@pytest.mark.parametrize("p", [[0.1, 1.1], [-0.1], [float("nan")]])
def test_what_is_no_probability(p):
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(p)


def test_the_examples():
    assert doctest.testmod(significance).failed == 0
