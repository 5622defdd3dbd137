"""Flip and crop against a plain loop, and how often each place is drawn."""

import pytest
import torch
from scipy import stats

from p2be_exp.augment import flip_crop, random_flip_crop
from p2be_exp.randomness.draws import ImageRandom, Purpose


def plain_flip_crop(image, flip, top, left, padding):
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 2 * padding, width + 2 * padding, dtype=torch.uint8)
    padded[:, padding : padding + height, padding : padding + width] = image.flip(-1) if flip else image
    return padded[:, top : top + height, left : left + width]


@pytest.mark.parametrize("padding", [4, 2, 0])
@pytest.mark.parametrize("size", [(32, 32), (20, 28)])
def test_equals_a_plain_loop(noise, size, padding):
    images = noise.repeat(3, 1, 1, 1)[:, :, : size[0], : size[1]]
    places = 2 * padding + 1
    index = torch.arange(len(images))
    flip, top, left = index % 2 == 0, index // 2 % places, index // 2 // places % places
    result = flip_crop(images, flip, top, left, padding)
    assert result.dtype == torch.uint8
    for one, *arguments in zip(result, images, flip, top, left, strict=True):
        assert torch.equal(one, plain_flip_crop(*arguments, padding))


def images_that_tell():
    """One image whose every level names its place: what was done to it can be read off."""
    return torch.arange(1, 145, dtype=torch.uint8).view(1, 1, 12, 12).expand(1, 3, -1, -1)


def test_half_are_flipped_and_all_places_are_as_likely():
    n = 16_200
    random = ImageRandom(0, 0, torch.arange(n), Purpose.FLIP_CROP)
    result = random_flip_crop(images_that_tell().expand(n, -1, -1, -1), random)
    middle = result[:, 0, 6, 6:8].long() - 1  # two pixels that are never padding: the place and the direction
    flipped = middle[:, 1] < middle[:, 0]
    row, column = middle[:, 0] // 12, middle[:, 0] % 12
    top, left = row - 6 + 4, torch.where(flipped, 11 - column, column) - 6 + 4
    assert stats.binomtest(int(flipped.sum()), n).pvalue > 1e-3
    counts = torch.bincount((flipped * 9 + top) * 9 + left, minlength=162)
    assert counts.shape == (162,)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_an_image_is_cropped_alike_in_any_batch(noise):
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    whole = random_flip_crop(noise, ImageRandom(1, 2, torch.arange(64), Purpose.FLIP_CROP))
    shuffled = random_flip_crop(noise[order], ImageRandom(1, 2, order, Purpose.FLIP_CROP))
    assert torch.equal(shuffled, whole[order])


def test_it_never_waits_for_the_device():
    """The meta device has no values: whatever has to read one back fails there."""
    random = ImageRandom(0, 0, torch.arange(4, device="meta"), Purpose.FLIP_CROP)
    images = torch.empty(4, 3, 32, 32, dtype=torch.uint8, device="meta")
    assert random_flip_crop(images, random).shape == (4, 3, 32, 32)
