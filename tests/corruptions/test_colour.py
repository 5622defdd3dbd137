import colorsys

import numpy as np
import pytest
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

from grids import in_turn
from p2be_exp.corruptions.colour import brightness, contrast, saturate
from p2be_exp.corruptions.constants import CIFAR, IMAGENET, constants_of
from p2be_exp.corruptions.draws import Draws

SIZES = [(32, 32), (24, 40), (224, 224)]


def pictures(height, width):
    """A random, a gray, a smooth and a two-coloured image."""
    rng = np.random.default_rng(height * width)
    random = rng.integers(0, 256, (height, width, 3))
    gray = random[..., :1].repeat(3, axis=2)
    smooth = np.indices((height, width)).sum(axis=0)[..., None] * 200 // (height + width) + np.array([0, 20, 40])
    return np.stack([random, gray, smooth, np.where(random < 128, 0, 255)]).astype(np.uint8)


def every_kind_of_pixel():
    """All colours of 27 levels, which hold all ties and the extremes: ``(1, 27, 729, 3)``."""
    levels = np.r_[np.arange(0, 256, 11), 1, 128, 255].astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, len(levels), -1, 3)


def no_draws(images):
    return Draws("digits", "brightness", 1, np.arange(len(images)))


def to_levels(x):
    return (np.clip(x, 0, 1) * 255).astype(np.uint8)


def to_hsv(x):
    """Hexcone HSV, one array operation after the other, a later channel replacing an earlier one where they tie."""
    with np.errstate(invalid="ignore", divide="ignore"):
        value = x.max(-1)
        spread = value - x.min(-1)
        saturation = spread / value
        saturation[spread == 0] = 0
        hue = np.zeros_like(value)
        for channel, offset in enumerate((0.0, 2.0, 4.0)):
            second, third = x[..., (channel + 1) % 3], x[..., (channel + 2) % 3]
            largest = x[..., channel] == value
            hue[largest] = (offset + (second - third) / spread)[largest]
        hue = (hue / 6) % 1
    hue[spread == 0] = 0
    return np.stack([hue, saturation, value], axis=-1)


def to_rgb(hsv):
    """The standard library's, pixel by pixel."""
    return np.array([colorsys.hsv_to_rgb(*pixel) for pixel in hsv.reshape(-1, 3).tolist()]).reshape(hsv.shape)


def brighter(hsv, amount):
    hsv = hsv.copy()
    hsv[..., 2] = np.clip(hsv[..., 2] + amount, 0, 1)
    return hsv


def more_saturated(hsv, factor, amount):
    hsv = hsv.copy()
    hsv[..., 1] = np.clip(hsv[..., 1] * factor + amount, 0, 1)
    return hsv


CHANGES = {"brightness": (brightness, brighter), "saturate": (saturate, more_saturated)}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("family", [CIFAR, IMAGENET], ids=["cifar", "imagenet"])
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_hsv_changes_equal_their_definition(name, family, severity):
    function, change = CHANGES[name]
    constants, images = family[name][severity - 1], every_kind_of_pixel()
    result = function(images, constants, no_draws(images))
    x = images / 255
    np.testing.assert_array_equal(result, to_levels(to_rgb(change(to_hsv(x), *constants))))
    # A second library, to the bit; the standard library, whose way to HSV rounds elsewhere, to a level.
    np.testing.assert_array_equal(result, to_levels(hsv_to_rgb(change(rgb_to_hsv(x), *constants))))
    some = x.reshape(-1, 3)[::17]
    hsv = np.array([colorsys.rgb_to_hsv(*pixel) for pixel in some.tolist()])
    standard = to_levels(to_rgb(change(hsv, *constants))).astype(int)
    assert abs(standard - result.reshape(-1, 3)[::17]).max() <= 1


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(("severity", "size"), in_turn([1, 2, 3, 4, 5], SIZES))
def test_hsv_changes_of_images(name, size, severity):
    function, change = CHANGES[name]
    constants, images = constants_of(name, severity, *size), pictures(*size)
    expected = to_levels(hsv_to_rgb(change(rgb_to_hsv(images / 255), *constants)))
    np.testing.assert_array_equal(function(images, constants, no_draws(images)), expected)


def test_there_and_back_alone_moves_a_fifth_of_the_values_a_level_down():
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    for result in (brightness(images, (0.0,), no_draws(images)), saturate(images, (1, 0), no_draws(images))):
        fall = images.astype(int) - result
        assert set(np.unique(fall)) == {0, 1}
        assert fall.mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("size", [*SIZES, (1, 1), (1, 50), (47, 1), (33, 47)])
def test_contrast_equals_its_definition(size):
    images = pictures(*size)
    for (factor,) in {*CIFAR["contrast"], *IMAGENET["contrast"]}:
        result = contrast(images, (factor,), no_draws(images))
        for image, got in zip(images, result, strict=True):
            x = image / 255
            mean = x.mean(axis=(0, 1))
            np.testing.assert_array_equal(got, to_levels((x - mean) * factor + mean))


@pytest.mark.parametrize("level", [0, 1, 77, 128, 200, 254, 255])
def test_the_mean_of_contrast_is_the_sum_of_its_pixels_in_their_order(level):
    """It shows where all values are levels by chance: with the exact mean an even image would stay as it is."""
    images = np.full((1, 24, 40, 3), level, dtype=np.uint8)
    total = 0.0
    for _ in range(24 * 40):
        total += level / 255
    mean = total / (24 * 40)
    expected = int(((level / 255 - mean) * 0.3 + mean) * 255)
    result = contrast(images, (0.3,), no_draws(images))
    np.testing.assert_array_equal(result, np.full_like(images, expected))
    assert level - 1 <= expected <= level


def test_the_order_of_the_sum_of_contrast_is_seen():
    levels = np.arange(256, dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (256, 24, 40, 3))
    assert (contrast(images, (0.3,), no_draws(images)) != images).any()


@pytest.mark.parametrize(("function", "constants"), [(brightness, (0.1,)), (saturate, (2, 0.1)), (contrast, (0.4,))])
def test_an_image_does_not_depend_on_its_batch(function, constants):
    images = pictures(24, 40)
    before = images.copy()
    together = function(images, constants, no_draws(images))
    assert together.dtype == np.uint8
    assert together.shape == images.shape
    np.testing.assert_array_equal(images, before)
    for place in range(len(images)):
        one = images[place : place + 1]
        np.testing.assert_array_equal(function(one, constants, no_draws(one))[0], together[place])
    np.testing.assert_array_equal(function(images[::-1].copy(), constants, no_draws(images))[::-1], together)
