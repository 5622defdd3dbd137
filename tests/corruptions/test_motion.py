"""Motion blur against a tap-by-tap transcription of ImageMagick's rule."""

import math

import numpy as np
import pytest
from scipy import stats

from grids import in_turn
from p2be_exp.corruptions.constants import CIFAR, IMAGENET
from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.motion import blur_along, motion_blur, trail


def some_images(n, height, width, channels=3):
    """Random levels and smooth colours by turns; uint8 (n, height, width, channels)."""
    out = np.random.default_rng(0).integers(0, 256, (n, height, width, channels), dtype=np.uint8)
    out[1::2] = np.linspace(0, 255, height * width * channels).reshape(height, width, channels)
    return out


def draws_of(indices, severity=1):
    return Draws("test", "motion_blur", severity, np.asarray(indices))


def plain_motion(image, radius, sigma, angle):
    """The definition. Two ways of taking an exponential may differ in the last bit: at 16 bits that shows nowhere."""
    height, width = image.shape[:2]
    weights = [math.exp(-k * k / (2 * sigma * sigma)) for k in range(2 * math.ceil(radius) + 1)]
    total = np.zeros(image.shape)
    for k, weight in enumerate(weights):
        right = math.ceil(k * math.cos(math.radians(angle)) - 0.5)
        down = math.ceil(k * math.sin(math.radians(angle)) - 0.5)
        rows = [min(max(row + down, 0), height - 1) for row in range(height)]
        columns = [min(max(column + right, 0), width - 1) for column in range(width)]
        total += weight / math.fsum(weights) * (257.0 * image[rows][:, columns])
    return (np.floor(total + 0.5) // 257).astype(np.uint8)


@pytest.mark.parametrize("family", [CIFAR, IMAGENET], ids=["cifar", "imagenet"])
@pytest.mark.parametrize(("severity", "size"), in_turn([1, 2, 3, 4, 5], [(32, 32), (24, 40), (8, 11)]))
def test_motion_blur_equals_the_plain_rule(family, severity, size):
    height, width = size
    constants = family["motion_blur"][severity - 1]
    images = some_images(6, height, width)
    draws = draws_of(np.arange(6), severity)
    angles = -45 + 90 * draws.uniform(1)[:, 0]
    expected = [plain_motion(x, *constants, angle) for x, angle in zip(images, angles.tolist(), strict=True)]
    np.testing.assert_array_equal(motion_blur(images, constants, draws), np.stack(expected))


def test_motion_blur_equals_the_plain_rule_at_imagenets_size():
    images = some_images(2, 224, 224)
    angles = -45 + 90 * draws_of([0, 1]).uniform(1)[:, 0]
    expected = [plain_motion(x, 20, 15, angle) for x, angle in zip(images, angles.tolist(), strict=True)]
    np.testing.assert_array_equal(motion_blur(images, (20, 15), draws_of([0, 1])), np.stack(expected))


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_blurred_along_its_own_angle(channels):
    angles = np.array([-135, -134.9, -90, -77.7, -45, 0, 0.3, 45, 44.9, 90, 180, 123.4])
    images = some_images(len(angles), 23, 30, channels)
    expected = [plain_motion(x, 9.5, 8, angle) for x, angle in zip(images, angles.tolist(), strict=True)]
    np.testing.assert_array_equal(blur_along(images, 9.5, 8, angles), np.stack(expected))


@pytest.mark.parametrize(("angle", "down", "right"), [(0, 0, 1), (90, 1, 0), (-90, -1, 0), (180, 0, -1), (45, 1, 1)])
def test_a_bright_pixel_leaves_a_fading_trail_on_one_side(angle, down, right):
    image = np.zeros((1, 41, 41, 1), np.uint8)
    image[0, 20, 20] = 255
    result = blur_along(image, 3, 2, np.array([float(angle)]))[0, :, :, 0]
    weights = np.exp(-(np.arange(7) ** 2) / 8)
    weights /= weights.sum()
    steps = np.arange(7) if angle != 45 else np.ceil(np.arange(7) / math.sqrt(2) - 0.5).astype(int)
    expected = np.zeros((41, 41), np.uint8)
    for step in steps:  # taps that read the same pixel add up
        expected[20 - step * down, 20 - step * right] = int(65535 * weights[steps == step].sum() + 0.5) // 257
    np.testing.assert_array_equal(result, expected)


def test_steps_are_whole_and_a_half_rounds_down():
    # 0.5 exactly, whatever the cosine: a step of one half of a pixel, and of one and a half.
    shifts = trail(np.array([0.5, 1.5, 2.5, 0.51]), np.array([0.0]))
    np.testing.assert_array_equal(shifts[0, :, 1], [0, 1, 2, 1])
    np.testing.assert_array_equal(shifts[0, :, 0], 0)
    upwards = trail(np.array([0.5, 1.5, 0.49]), np.array([-90.0]))
    np.testing.assert_array_equal(upwards[0, :, 0], [-1, -2, 0])


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_an_even_image_stays(level):
    image = np.full((3, 16, 16, 3), level, np.uint8)
    for constants in (*CIFAR["motion_blur"], *IMAGENET["motion_blur"]):
        np.testing.assert_array_equal(motion_blur(image, constants, draws_of([0, 1, 2])), image)


def test_angles_fill_the_range_evenly():
    """An oblique trail of two taps of equal weight: where it ends tells the angle."""
    draws = draws_of(np.arange(4000))
    image = np.zeros((1, 81, 81, 3), np.uint8)
    image[0, 40, 70] = 255
    angles = draws.between(-45, 45, 1)[:, 0]
    assert stats.kstest(angles, stats.uniform(-45, 90).cdf).pvalue > 1e-3
    result = motion_blur(image.repeat(60, axis=0), (20, 1e6), draws_of(np.arange(60)))
    lit = [np.argwhere(x[:, :, 0]) for x in result]  # the trail reads to the right: it is left of the pixel
    ends = np.array([places[places[:, 1].argmin()] for places in lit])
    found = np.degrees(np.arctan2(40 - ends[:, 0], 70 - ends[:, 1]))
    np.testing.assert_allclose(found, angles[:60], atol=1.5)
    assert found.min() < -35
    assert found.max() > 35


def test_an_image_is_blurred_alike_in_every_batch_and_order():
    images = some_images(5, 24, 40)
    before = images.copy()
    together = motion_blur(images, (6, 2), draws_of([7, 8, 9, 1, 2]))
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(images, before)
    backwards = motion_blur(images[::-1].copy(), (6, 2), draws_of([2, 1, 9, 8, 7]))
    np.testing.assert_array_equal(backwards[::-1], together)
    for image, index in enumerate([7, 8, 9, 1, 2]):
        np.testing.assert_array_equal(
            motion_blur(images[image : image + 1], (6, 2), draws_of([index]))[0], together[image]
        )
