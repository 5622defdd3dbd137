"""The compiled random numbers equal those of the tensor code, and no two uses share any."""

import doctest
import hashlib
import random as python_random

import numpy as np
import pytest
import torch
from scipy import stats

from p2be_exp.corruptions import draws as draws_module
from p2be_exp.corruptions.draws import PURPOSE, Draws, key_of, stream_of
from p2be_exp.corruptions.names import ALL, SEVERITIES
from p2be_exp.randomness.draws import ImageRandom, Purpose


def test_the_purpose_is_the_one_set_aside_for_corruptions():
    assert PURPOSE == Purpose.CORRUPTION


@pytest.mark.parametrize("seed", [0, 1, 2**40])
@pytest.mark.parametrize(("name", "severity"), [("gaussian_noise", 1), ("fog", 3), ("saturate", 5)])
def test_uniform_equals_the_tensor_code_to_the_bit(seed, name, severity):
    images = [0, 1, 9_999, 49_999, 2**31, 2**32 - 1]
    tensor = ImageRandom(key_of("cifar10", seed), stream_of(name, severity), torch.tensor(images), Purpose.CORRUPTION)
    compiled = Draws("cifar10", name, severity, np.array(images), seed)
    for n, start in [(1, 0), (2, 0), (7, 0), (1, 1), (4, 1), (5, 6), (3, 1001), (0, 3), (2, 2**32 - 1)]:
        result = compiled.uniform(n, start)
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result, tensor.uniform(n, start).numpy())


def test_a_known_answer():
    """The definition in Python's integers: Philox4x32-10 of the counter (image, stream, purpose, block)."""
    key = int.from_bytes(hashlib.sha256(b"p2be_exp corruptions digits 7").digest()[:8], "little")
    c0, c1, c2, c3 = 123, 8 * 10 + 4, 3, 5  # fog is the tenth of the nineteen
    k0, k1 = key % 2**32, key // 2**32
    for _ in range(10):
        (high0, low0), (high1, low1) = divmod(0xD2511F53 * c0, 2**32), divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    expected = [((c0 // 32) * 2**26 + c1 // 64) / 2**53, ((c2 // 32) * 2**26 + c3 // 64) / 2**53]
    assert Draws("digits", "fog", 4, [123], seed=7).uniform(2, start=10).tolist() == [expected]


def test_streams_and_keys_are_all_distinct():
    streams = {stream_of(name, severity) for name in ALL for severity in SEVERITIES}
    assert len(streams) == 19 * 5
    assert min(streams) >= 0
    assert max(streams) < 2**32
    keys = {key_of(dataset, seed) for dataset in ("cifar10", "cifar100", "cifar10 1", "digits") for seed in range(100)}
    assert len(keys) == 400
    assert all(0 <= key < 2**64 for key in keys)


def test_another_seed_data_set_corruption_severity_or_image_draws_other_numbers():
    def first(dataset="a", name="fog", severity=1, image=0, seed=0):
        return Draws(dataset, name, severity, [image], seed).uniform(20)[0]

    others = [first(dataset="b"), first(name="snow"), first(severity=2), first(image=1), first(seed=1)]
    assert all(not np.intersect1d(first(), other).size for other in others)


def test_a_later_start_reads_on_in_the_same_sequence():
    draws = Draws("a", "fog", 1, np.arange(5))
    whole = draws.uniform(40)
    source = python_random.Random(0)
    for _ in range(50):
        start = source.randrange(40)
        n = source.randrange(41 - start)
        np.testing.assert_array_equal(draws.uniform(n, start), whole[:, start : start + n])
        for other, expected in [
            (draws.between(-45, 45, n, start), -45 + 90 * whole),
            (draws.integers(-2, 3, n, start), np.floor(5 * whole).astype(int) - 2),
            (draws.normal(n, start), stats.norm.ppf(whole)),
        ]:
            np.testing.assert_array_equal(other, expected[:, start : start + n])


def test_draws_do_not_depend_on_the_batch():
    order = np.random.default_rng(0).permutation(100)
    together = Draws("a", "fog", 1, np.arange(100)).uniform(9)
    np.testing.assert_array_equal(Draws("a", "fog", 1, order).uniform(9), together[order])
    np.testing.assert_array_equal(Draws("a", "fog", 1, [17]).uniform(9)[0], together[17])
    assert len(Draws("a", "fog", 1, order)) == 100


def test_draws_are_uniform_and_independent():
    draws = Draws("a", "fog", 1, np.arange(1000)).uniform(100)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert stats.kstest(draws.ravel(), "uniform").pvalue > 1e-3
    for axis in (0, 1):  # neighbouring images, neighbouring draws
        assert abs(np.corrcoef(draws.ravel(), np.roll(draws, 1, axis).ravel())[0, 1]) < 0.015
    for severity in (2, 3):
        other = Draws("a", "fog", severity, np.arange(1000)).uniform(100)
        assert abs(np.corrcoef(draws.ravel(), other.ravel())[0, 1]) < 0.015


def test_integers_take_every_value_equally_often():
    found = Draws("a", "fog", 1, np.arange(200)).integers(-3, 4, 100)
    assert found.dtype == np.int64
    values, counts = np.unique(found, return_counts=True)
    assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_between_stays_in_its_range():
    found = Draws("a", "fog", 1, np.arange(100)).between(2, 5, 100)
    assert stats.kstest(found.ravel(), stats.uniform(2, 3).cdf).pvalue > 1e-3
    assert found.min() >= 2
    assert found.max() < 5


def test_normal_is_normal():
    found = Draws("a", "fog", 1, np.arange(500)).normal(200)
    assert stats.kstest(found.ravel(), "norm").pvalue > 1e-3


def test_the_extreme_draws_stay_inside(monkeypatch):
    """The smallest and the largest number that a draw can be."""
    draws = Draws("a", "fog", 1, [0])
    monkeypatch.setattr(draws, "uniform", lambda n, start=0: np.array([[0.0, 1 - 2.0**-53]]))
    low, high = draws.normal(2)[0]
    assert -9 < low < -8
    assert 8 < high < 9
    for n in (1, 2, 3, 5, 7, 1000, 46_657):
        assert draws.integers(-n, n, 2).tolist() == [[-n, n - 1]]


def test_indices_of_any_integer_type_draw_alike():
    expected = Draws("a", "fog", 1, [3, 200]).uniform(3)
    for dtype in (np.uint8, np.int32, np.int64, np.uint64):
        np.testing.assert_array_equal(Draws("a", "fog", 1, np.array([3, 200], dtype)).uniform(3), expected)


def test_the_examples_of_the_documentation_hold():
    result = doctest.testmod(draws_module)
    assert result.attempted > 0
    assert result.failed == 0
