"""The intervals against their formulas written out, and the bootstrap against enumerating every resample there is."""

import doctest
import itertools
import math
import warnings
from collections import Counter
from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import stdtrit

from grids import in_turn
from p2be_exp.statistics import intervals
from p2be_exp.statistics.intervals import (
    mean_interval,
    paired_bootstrap,
    paired_t_interval,
    welch_interval,
    wilson_interval,
)

COUNTS = [(k, n) for n in (1, 2, 97, 10_000) for k in sorted({0, 1, n // 3, n // 2, n - 1, n}) if k <= n]


def wilson(k, n, confidence=0.95):
    """Solutions of |k/n - p| = z sqrt(p (1 - p) / n)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre, half = k + z * z / 2, z * math.sqrt(k * (n - k) / n + z * z / 4)
    return (centre - half) / (n + z * z), (centre + half) / (n + z * z)


@pytest.mark.parametrize(("counts", "confidence"), in_turn(COUNTS, [0.95, 0.99, 0.95]))
def test_wilsons_formula(counts, confidence):
    k, n = counts
    assert wilson_interval(k, n, confidence) == pytest.approx(wilson(k, n, confidence), abs=1e-12)
    assert wilson_interval(k, n) == wilson_interval(k, n, 0.95)


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


def test_the_examples():
    assert doctest.testmod(intervals).failed == 0


# -- Welch ------------------------------------------------------------------------------------------------------------

GROUPS = [
    ([35.1, 35.4, 35.2], [36.0, 36.3, 36.6]),
    ([1.0, 2.0], [1.5, 9.0]),
    ([20.0, 21.5, 19.0, 22.0, 20.2], [18.0, 18.1]),
    ([3.0, 3.0, 3.0], [4.0, 5.0, 7.0]),  # one group without spread
    ([1e-9, 2e-9, 4e-9], [1e-9, 3e-9]),
]


def welch(a, b, confidence):
    """Difference of the means -+ t sqrt(s_a^2 / n_a + s_b^2 / n_b), with Satterthwaite's degrees of freedom."""
    shares = [np.var(group, ddof=1) / len(group) for group in (a, b)]
    freedom = sum(shares) ** 2 / sum(share**2 / (len(group) - 1) for share, group in zip(shares, (a, b), strict=True))
    half = stdtrit(freedom, (1 + confidence) / 2) * math.sqrt(sum(shares))
    return np.mean(b) - np.mean(a) - half, np.mean(b) - np.mean(a) + half


@pytest.mark.parametrize(("groups", "confidence"), in_turn(GROUPS, [0.95, 0.8]))
def test_welchs_formula(groups, confidence):
    a, b = groups
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none reaches a user's terminal
        found = welch_interval(a, b, confidence)
    assert (found.low, found.high) == pytest.approx(welch(a, b, confidence), rel=1e-9)
    assert found.difference == pytest.approx(np.mean(b) - np.mean(a), rel=1e-12)


def test_welch_with_the_default_confidence():
    a, b = GROUPS[0]
    assert welch_interval(a, b) == welch_interval(a, b, 0.95)


def test_tiny_variances_are_not_lost():
    tiny = welch_interval([1e-100, 2e-100], [1e-100, 4e-100])  # whose squared variances are 0
    assert [end * 1e100 for end in tiny] == pytest.approx(list(welch_interval([1.0, 2.0], [1.0, 4.0])))


@pytest.mark.parametrize(("a", "b"), [([0.1] * 3, [0.4] * 2), ([0.1, 0.1, 0.1], [0.1, 0.1, 0.1])])
def test_without_spread_the_interval_has_no_width(a, b):
    found = welch_interval(a, b)
    assert found.low == found.high == found.difference == pytest.approx(b[0] - a[0])


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0]), ([], [1.0, 2.0])])
def test_one_value_has_no_spread(a, b):
    with pytest.raises(ValueError, match="at least two values"):
        welch_interval(a, b)


def test_values_that_are_no_numbers():
    with pytest.raises(ValueError, match="not finite"):
        welch_interval([1.0, 2.0], [1.0, float("nan")])


# -- pairs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_students_formula_of_pairs(confidence):
    a, b = [35.1, 35.4, 35.2, 36.0], [34.0, 34.5, 34.3, 35.5]
    steps = np.subtract(b, a)
    half = stdtrit(3, (1 + confidence) / 2) * np.std(steps, ddof=1) / 2
    found = paired_t_interval(a, b, confidence)
    assert tuple(found) == pytest.approx((np.mean(steps), np.mean(steps) - half, np.mean(steps) + half))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_students_formula_of_a_mean(confidence):
    values = [34.0, 34.5, 33.9, 34.4]
    mean = sum(values) / 4
    half = stdtrit(3, (1 + confidence) / 2) * math.sqrt(sum((each - mean) ** 2 for each in values) / 3 / 4)
    assert mean_interval(values, confidence) == pytest.approx((mean, mean - half, mean + half))
    with pytest.raises(ValueError, match="at least two"):
        mean_interval([34.0])


def test_pairs_that_all_differ_alike_have_no_spread():
    found = paired_t_interval([35.1, 35.2, 35.4], [34.1, 34.2, 34.4])
    assert found.low == found.high == found.difference == pytest.approx(-1)


@pytest.mark.parametrize(
    ("a", "b", "message"), [([1.0], [2.0], "two values"), ([1.0, 2.0], [1.0, 2.0, 3.0], "cannot be paired")]
)
def test_values_without_partners(a, b, message):
    with pytest.raises(ValueError, match=message):
        paired_t_interval(a, b)


# -- bootstrap --------------------------------------------------------------------------------------------------------


def exact_distribution(wrong_a, wrong_b, weights):
    """Every resample of the images, in points: (values ascending, probabilities)."""
    images = wrong_a.shape[1]
    found = Counter()
    for sample in itertools.product(range(images), repeat=images):
        errors = [[wrong[list(sample)].mean() for wrong in side] for side in (wrong_a, wrong_b)]
        difference = sum(w * (b - a) for w, a, b in zip(weights, *errors, strict=True))
        found[round(100 * difference, 9)] += 1
    values = sorted(found)
    return np.array(values), np.array([found[value] for value in values]) / images**images


def assert_quantile(value, level, values, probabilities, tolerance=0.01):
    """``value`` is the exact quantile, or one next to it where the level is as good as on the step between them."""
    place = int(np.argmin(np.abs(values - value)))
    assert values[place] == pytest.approx(value, abs=1e-6)
    above = np.cumsum(probabilities)[place]
    assert above - probabilities[place] - tolerance < level < above + tolerance


A = np.array([[1, 0, 0, 1, 0], [1, 1, 0, 0, 0], [0, 0, 0, 1, 0]], dtype=bool)
B = np.array([[1, 1, 0, 1, 1], [0, 1, 1, 1, 0], [0, 1, 0, 1, 0]], dtype=bool)


@pytest.mark.parametrize("weights", [[1.0], [1 / 3] * 3, [0.5, 0.3, 0.2], [2.0, -1.0, 0.0]])
@pytest.mark.parametrize("confidence", [0.95, 0.7])
def test_every_resample(weights, confidence):
    a, b = A[: len(weights)], B[: len(weights)]
    found = paired_bootstrap(a, b, weights, confidence, resamples=40_000)
    values, probabilities = exact_distribution(a, b, weights)
    assert_quantile(found.low, (1 - confidence) / 2, values, probabilities)
    assert_quantile(found.high, (1 + confidence) / 2, values, probabilities)
    assert found.difference == pytest.approx(values @ probabilities)


def test_one_condition_is_a_matrix_of_one_row():
    assert paired_bootstrap(A[0], B[0]) == paired_bootstrap(A[:1], B[:1])
    assert paired_bootstrap(A[0].tolist(), B[0].tolist()).difference == pytest.approx(40)


def test_weights_are_equal_where_none_are_given():
    assert paired_bootstrap(A, B) == paired_bootstrap(A, B, [1 / 3] * 3)


def networks(images=2000, conditions=4, seed=0):
    """Two networks that often fail on the same images."""
    generator = np.random.default_rng(seed)
    hard = generator.random(images)
    return tuple((hard + generator.random((conditions, images))) / 2 < rate for rate in (0.3, 0.33))


def test_the_interval_of_many_images_is_the_normal_one():
    a, b = networks()
    per_image = (b.astype(float) - a).mean(axis=0)
    half = 100 * NormalDist().inv_cdf(0.975) * per_image.std() / np.sqrt(len(per_image))
    found = paired_bootstrap(a, b, resamples=40_000)
    assert found.difference == pytest.approx(100 * per_image.mean())
    assert (found.difference - found.low, found.high - found.difference) == pytest.approx((half, half), rel=0.03)


def test_an_image_is_drawn_with_all_its_conditions():
    a, b = networks(conditions=1)
    one, many = paired_bootstrap(a, b), paired_bootstrap(np.repeat(a, 9, axis=0), np.repeat(b, 9, axis=0))
    assert many == pytest.approx(one)  # nine times the same images are no more images


def test_the_seed_decides():
    a, b = networks()
    assert paired_bootstrap(a, b, seed=1) == paired_bootstrap(a, b, seed=1)
    assert paired_bootstrap(a, b, seed=1) != paired_bootstrap(a, b, seed=2)


def test_how_many_numbers_are_held_changes_nothing(monkeypatch):
    a, b = networks(images=50)
    whole = paired_bootstrap(a, b, resamples=101)
    monkeypatch.setattr(intervals, "_DRAWS_AT_ONCE", 60)
    assert paired_bootstrap(a, b, resamples=101) == whole


def test_the_sign_and_the_ends():
    right, wrong = np.zeros(20, dtype=bool), np.ones(20, dtype=bool)
    assert paired_bootstrap(wrong, right) == (-100, -100, -100)
    assert paired_bootstrap(right, wrong) == (100, 100, 100)
    assert paired_bootstrap(wrong, wrong) == (0, 0, 0)


@pytest.mark.parametrize(("a", "b"), [(A, B[:, :4]), (A, B[:2]), (A[:, :0], B[:, :0]), (A[None], B[None])])
def test_images_that_are_not_the_same(a, b):
    with pytest.raises(ValueError, match="the same images"):
        paired_bootstrap(a, b)


def test_weights_that_do_not_fit():
    with pytest.raises(ValueError, match="for 3 conditions"):
        paired_bootstrap(A, B, [1.0, 2.0])
