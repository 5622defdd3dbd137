"""The counter-based random numbers: right, uniform, and the same wherever they are drawn."""

import doctest
import random as python_random

import pytest
import torch
from scipy import stats

from p2be_exp.randomness import draws as randomness
from p2be_exp.randomness.draws import ImageRandom, Purpose, philox4x32

# Random123's known answers for philox4x32 with 10 rounds: counter, key, result.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [int(word, 16) for word in text.split()]


def plain_philox(counter, key):
    """The definition, one counter at a time, in Python's integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c2, 2**32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


def plain_uniform(seed, epoch, image, purpose, n):
    """Draws of one image from the definition."""
    draws = []
    for block in range((n + 1) // 2):
        w = plain_philox((image, epoch, purpose, block), (seed % 2**32, seed // 2**32))
        draws += [((w[i] // 2**5) * 2**26 + w[i + 1] // 2**6) / 2**53 for i in (0, 2)]
    return draws[:n]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(counter, key, expected):
    assert plain_philox(words(counter), words(key)) == words(expected)
    result = philox4x32(tuple(torch.tensor([word]) for word in words(counter)), tuple(words(key)))
    assert [int(word) for word in result] == words(expected)


def test_philox_equals_its_definition():
    source = python_random.Random(0)
    counters = [[source.getrandbits(32) for _ in range(4)] for _ in range(300)]
    key = (source.getrandbits(32), source.getrandbits(32))
    result = torch.stack(philox4x32(torch.tensor(counters).unbind(1), key), dim=1)
    assert result.tolist() == [plain_philox(counter, key) for counter in counters]


@pytest.mark.parametrize("seed", [0, 1, 2**32, 2**64 - 1])
def test_uniform_equals_its_definition(seed):
    images = [0, 1, 49_999, 2**32 - 2]
    draws = ImageRandom(seed, epoch=2**32 - 1, images=torch.tensor(images), purpose=2**31).uniform(7)
    assert draws.dtype == torch.float64
    assert draws.tolist() == [plain_uniform(seed, 2**32 - 1, image, 2**31, 7) for image in images]


def test_uniform_is_uniform_and_its_draws_are_independent():
    draws = ImageRandom(3, 1, torch.arange(2000), Purpose.AUGMIX).uniform(50)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert stats.kstest(draws.flatten().numpy(), "uniform").pvalue > 1e-3
    for other in (draws.roll(1, 0), draws.roll(1, 1)):  # neighbouring images, neighbouring draws
        assert abs(torch.corrcoef(torch.stack([draws.flatten(), other.flatten()]))[0, 1]) < 0.01


def test_draws_do_not_depend_on_the_batch():
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    draws = ImageRandom(0, 0, torch.arange(100), Purpose.AUGMIX).uniform(9)
    assert torch.equal(ImageRandom(0, 0, order, Purpose.AUGMIX).uniform(9), draws[order])
    parts = [ImageRandom(0, 0, part, Purpose.AUGMIX).uniform(9) for part in torch.arange(100).split(7)]
    assert torch.equal(torch.cat(parts), draws)
    assert torch.equal(ImageRandom(0, 0, order.int(), Purpose.AUGMIX).uniform(9), draws[order])


@pytest.mark.parametrize(("start", "n"), [(0, 4), (1, 1), (1, 4), (2, 3), (5, 0), (7, 6)])
def test_draws_can_be_read_from_any_place(start, n):
    random = ImageRandom(0, 0, torch.arange(5), Purpose.AUGMIX)
    assert torch.equal(random.uniform(n, start), random.uniform(20)[:, start : start + n])


def test_seed_epoch_image_and_purpose_share_no_draw():
    images = torch.arange(20)
    streams = [
        ImageRandom(seed, epoch, images, purpose).uniform(10)
        for seed in (0, 1, 2**32)
        for epoch in (0, 1)
        for purpose in Purpose
    ]
    draws = torch.stack(streams).flatten()
    assert len(draws.unique()) == len(draws)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**64}, "seed="),
        ({"epoch": 2**32}, "epoch="),
        ({"purpose": -1}, "purpose=-1"),
        ({"images": torch.tensor([-1])}, "images must be between"),
        ({"images": torch.tensor([2**32])}, "images must be between"),
        ({"images": torch.tensor([1.0])}, "vector of integers"),
        ({"images": torch.tensor(1)}, "vector of integers"),
    ],
)
def test_arguments_outside_their_range_are_refused(change, message):
    arguments = {"seed": 0, "epoch": 0, "images": torch.arange(2), "purpose": 0} | change
    with pytest.raises(ValueError, match=message):
        ImageRandom(**arguments)


@pytest.mark.parametrize(("n", "start"), [(-1, 0), (1, -1), (2, 2**33 - 1)])
def test_draws_outside_the_sequence_are_refused(n, start):
    with pytest.raises(ValueError, match="draws"):
        ImageRandom(0, 0, torch.arange(2), Purpose.AUGMIX).uniform(n, start)


def test_no_images_draw_nothing():
    assert ImageRandom(0, 0, torch.arange(0), Purpose.AUGMIX).uniform(3).shape == (0, 3)


def test_drawing_never_waits_for_the_device():
    """The meta device has no values: whatever has to read one back fails there."""
    random = ImageRandom(0, 0, torch.arange(4, device="meta"), Purpose.AUGMIX)
    assert random.uniform(5).shape == (4, 5)


@pytest.mark.gpu
def test_a_gpu_draws_the_same():
    images = torch.arange(1000)
    draws = ImageRandom(5, 6, images, Purpose.AUGMIX).uniform(33)
    assert torch.equal(ImageRandom(5, 6, images.cuda(), Purpose.AUGMIX).uniform(33).cpu(), draws)


def test_docstring_examples():
    assert doctest.testmod(randomness).failed == 0
