"""Noise of whole levels: how far, how often, and whose."""

import torch

from p2be_exp.augment.level_noise import level_noise
from p2be_exp.randomness.draws import ImageRandom, Purpose


def moved(level, radius, batch=50, **places):
    given = torch.full((batch, 3, 16, 16), level, dtype=torch.uint8)
    return level_noise(given, radius, torch.arange(batch), **{"seed": 0, "epoch": 0, **places})


def test_every_distance_is_equally_likely():
    found = moved(100, 3).int() - 100
    counts = torch.bincount(found.flatten() + 3, minlength=7)
    assert counts.sum() == found.numel() == 38_400
    expected = found.numel() / 7
    assert ((counts - expected) ** 2 / expected).sum() < 22.5  # chi-square of 6 degrees of freedom, 0.1 %


def test_it_is_the_rounding_of_an_images_own_numbers():
    indices = torch.tensor([8, 3])
    given = torch.full((2, 3, 4, 5), 100, dtype=torch.uint8)
    found = level_noise(given, 2, indices, seed=4, epoch=6)
    draws = ImageRandom(4, 6, indices, Purpose.NOISE).uniform(60).view(2, 3, 4, 5)
    assert torch.equal(found.int(), 98 + (5 * draws).floor().int())
    assert torch.equal(level_noise(given[:1], 2, indices[1:], 4, 6), found[1:])
    assert not torch.equal(level_noise(given, 2, indices, 4, 7), found)


def test_it_is_cut_at_black_and_white():
    black, white = moved(0, 255, batch=2), moved(254, 3, batch=2)
    assert (black == 0).float().mean() > 0.4
    assert black.max() > 200
    assert white.min() == 251
    assert white.max() == 255


def test_without_a_radius_there_is_none():
    given = torch.arange(48, dtype=torch.uint8).view(1, 3, 4, 4)
    found = level_noise(given, 0, torch.tensor([0]), 0, 0)
    assert torch.equal(found, given)
    assert found.data_ptr() != given.data_ptr()
