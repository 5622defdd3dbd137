"""The geometric augmentations by name: flip and crop as before, the same crops without a flip, or nothing."""

import torch

from p2be_exp.augment import augmentation_of, random_flip_crop
from p2be_exp.randomness.draws import ImageRandom, Purpose


def random(n, epoch=0):
    return ImageRandom(3, epoch, torch.arange(n), Purpose.FLIP_CROP)


def test_flip_crop(noise):
    assert torch.equal(augmentation_of("flip_crop")(noise, random(64)), random_flip_crop(noise, random(64)))


def test_crop_is_flip_crop_at_the_same_places_without_the_flip(noise):
    cropped, both = augmentation_of("crop")(noise, random(64)), random_flip_crop(noise, random(64))
    flipped = random(64).uniform(1)[:, 0] < 0.5
    assert torch.equal(cropped[~flipped], both[~flipped])
    # A crop of the flipped image is the flip of a crop as far to the other side: the padding is that of both sides.
    top, left = (random(64).uniform(3)[:, 1:] * 9).long().unbind(1)
    padded = torch.nn.functional.pad(noise, (4, 4, 4, 4))
    for place in range(64):
        row, column = int(top[place]), int(left[place])
        assert torch.equal(cropped[place], padded[place, :, row : row + 32, column : column + 32])
    assert 16 < int(flipped.sum()) < 48


def test_the_others_change_nothing(noise):
    for name in ("none", "resized_crop"):
        assert torch.equal(augmentation_of(name)(noise, random(64)), noise)
