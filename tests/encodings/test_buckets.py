"""One-hot and thermometer codes against the paper's Table I and the reference's float32 arithmetic."""

import pytest
import torch

from p2be_exp.encodings import LEVELS, OneHot, Thermometer
from p2be_exp.encodings.buckets import bucket_of_level

# The values, and the bit that is set first, of the paper's Table I (M = 10).
TABLE_I = [(0.03, 0), (0.48, 4), (0.92, 9)]


def level(value: float) -> int:
    return round(value * 255)


@pytest.mark.parametrize(("value", "bit"), TABLE_I)
def test_one_hot_codes_of_table_i(value, bit):
    code = OneHot(10).table()[level(value)].tolist()
    assert code == [0.0] * bit + [1.0] + [0.0] * (9 - bit)


@pytest.mark.parametrize(("value", "bit"), TABLE_I)
def test_thermometer_codes_of_table_i(value, bit):
    code = Thermometer(10).table()[level(value)].tolist()
    assert code == [0.0] * bit + [1.0] * (10 - bit)


@pytest.mark.parametrize("M", [10, 16, 32, 64, 128, 256])
def test_buckets_are_those_of_the_reference_in_float32(M):
    # spec/p2be.md 1.1: trunc(clamp(x * M, 0, M - 1)) on float32 images x = k / 255.
    images = torch.arange(LEVELS, dtype=torch.float32) / 255
    expected = torch.trunc(torch.clamp(images * M, 0, M - 1)).long()
    assert torch.equal(bucket_of_level(M), expected)


def test_buckets_ascend_and_none_is_empty():
    for M in range(1, 257):
        buckets = bucket_of_level(M)
        assert buckets.tolist() == sorted(buckets.tolist()), M
        assert buckets.unique().tolist() == list(range(M)), M


def test_64_buckets_hold_four_levels_each_and_10_hold_25_or_26():
    assert bucket_of_level(64).bincount().tolist() == [4] * 64
    assert set(bucket_of_level(10).bincount().tolist()) == {25, 26}


@pytest.mark.parametrize("M", [1, 10, 64, 256])
def test_the_brightest_level_has_only_the_last_bit(M):
    for encoding in (OneHot(M), Thermometer(M)):
        assert encoding.table()[255].tolist() == [0.0] * (M - 1) + [1.0]


@pytest.mark.parametrize("cls", [OneHot, Thermometer])
def test_the_table_is_constant_and_not_in_the_checkpoint(cls):
    encoding = cls(16)
    assert list(encoding.parameters()) == []
    assert encoding.state_dict() == {}
    assert not encoding.table().requires_grad
    assert encoding.smoothness() is None


@pytest.mark.parametrize("cls", [OneHot, Thermometer])
def test_more_buckets_than_levels_are_refused(cls):
    cls(256)
    with pytest.raises(ValueError, match="M=257"):
        cls(257)
    with pytest.raises(ValueError, match="M=0"):
        cls(0)
