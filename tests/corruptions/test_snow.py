"""Snow against a transcription, image by image, and the distribution of its flakes."""

import math

import cv2
import numpy as np
import pytest
from scipy import ndimage, special, stats

from grids import in_turn
from p2be_exp.corruptions.constants import CIFAR, IMAGENET
from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.snow import snow


def some_images(n, height, width):
    """Random levels and smooth colours by turns; uint8 (n, height, width, 3)."""
    out = np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    out[1::2] = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    return out


def draws_of(indices, severity=1):
    return Draws("test", "snow", severity, np.asarray(indices))


def plain_zoom(x, factor):
    crop = [math.ceil(length / factor) for length in x.shape]
    top, left = ((length - c) // 2 for length, c in zip(x.shape, crop, strict=True))
    zoomed = ndimage.zoom(x[top : top + crop[0], left : left + crop[1]], factor, order=1)
    top, left = ((z - length) // 2 for z, length in zip(zoomed.shape, x.shape, strict=True))
    return zoomed[top : top + x.shape[0], left : left + x.shape[1]]


def plain_trail(layer, radius, sigma, angle):
    height, width = layer.shape
    weights = [math.exp(-k * k / (2 * sigma * sigma)) for k in range(2 * math.ceil(radius) + 1)]
    total = np.zeros(layer.shape)
    for k, weight in enumerate(weights):
        right = math.ceil(k * math.cos(math.radians(angle)) - 0.5)
        down = math.ceil(k * math.sin(math.radians(angle)) - 0.5)
        rows = np.clip(np.arange(height) + down, 0, height - 1)
        columns = np.clip(np.arange(width) + right, 0, width - 1)
        total += weight / math.fsum(weights) * (257.0 * layer[rows][:, columns])
    return (np.floor(total + 0.5) // 257).astype(np.uint8)


def plain_layer(shape, constants, uniform):
    """The flakes of one image, (H, W) in [0, 1], from its draws."""
    mean, deviation, zoom, threshold, radius, sigma, _ = constants
    pixels = shape[0] * shape[1]
    layer = special.ndtri(uniform[:pixels]).reshape(shape) * deviation + mean
    layer = plain_zoom(layer, zoom)
    layer[layer < threshold] = 0
    layer = (np.clip(layer, 0, 1) * 255).astype(np.uint8)
    return plain_trail(layer, radius, sigma, -135 + 90 * uniform[pixels]) / 255


def mixed(x, gray, layer, keep):
    """(H, W, 3) and (H, W) in [0, 1] to levels."""
    x = keep * x + (1 - keep) * np.maximum(x, gray[:, :, None] * 1.5 + 0.5)
    turned = np.rot90(layer, 2)
    return (np.clip(x + layer[:, :, None] + turned[:, :, None], 0, 1) * 255).astype(np.uint8)


def plain_snow(image, constants, uniform):
    x = image / 255
    gray = 0.299 * x[:, :, 0] + 0.587 * x[:, :, 1] + 0.114 * x[:, :, 2]
    return mixed(x, gray, plain_layer(image.shape[:2], constants, uniform), constants[6])


def published_snow(image, constants, uniform):
    """The image in float32 and OpenCV's gray, as the published generators have it."""
    x = np.array(image, dtype=np.float32) / 255.0
    gray = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)
    return mixed(x, gray, plain_layer(image.shape[:2], constants, uniform), constants[6])


@pytest.mark.parametrize("family", [CIFAR, IMAGENET], ids=["cifar", "imagenet"])
@pytest.mark.parametrize(("severity", "size"), in_turn([1, 2, 3, 4, 5], [(32, 32), (24, 40), (8, 11)]))
def test_snow_equals_the_transcription(family, severity, size):
    height, width = size
    constants = family["snow"][severity - 1]
    images = some_images(4, height, width)
    draws = draws_of([3, 1, 0, 8], severity)
    uniform = draws.uniform(height * width + 1)
    expected = [plain_snow(x, constants, u) for x, u in zip(images, uniform, strict=True)]
    np.testing.assert_array_equal(snow(images, constants, draws), np.stack(expected))


@pytest.mark.parametrize("severity", [1, 4])
def test_snow_equals_the_transcription_at_imagenets_size(severity):
    constants = IMAGENET["snow"][severity - 1]
    images = some_images(1, 224, 224)
    uniform = draws_of([0]).uniform(224 * 224 + 1)
    np.testing.assert_array_equal(
        snow(images, constants, draws_of([0]))[0], plain_snow(images[0], constants, uniform[0])
    )


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_snow_agrees_with_the_published_float32(severity):
    constants = CIFAR["snow"][severity - 1]
    images = some_images(20, 32, 32)
    draws = draws_of(np.arange(20), severity)
    expected = [published_snow(x, constants, u) for x, u in zip(images, draws.uniform(32 * 32 + 1), strict=True)]
    difference = snow(images, constants, draws).astype(int) - np.stack(expected)
    # float32 moves a value by 1e-7, which shows where it is on the brink of two levels: most in the smooth images.
    assert np.abs(difference).max() <= 1
    assert np.mean(difference[::2] != 0) < 0.005
    assert np.mean(difference[1::2] != 0) < 0.04


def test_flakes_trail_at_45_to_135_degrees_and_evenly():
    draws = draws_of(np.arange(3000))
    angles = draws.between(-135, -45, 1, start=32 * 32)[:, 0]
    assert stats.kstest(angles, stats.uniform(-135, 90).cdf).pvalue > 1e-3
    # Trails are long in the vertical and short across: neighbours above are more alike than neighbours aside.
    flakes = snow(np.zeros((200, 32, 32, 3), np.uint8), (0.1, 0.2, 1, 0.6, 8, 3, 1.0), draws_of(np.arange(200)))
    layer = flakes[..., 0].astype(float)
    down = np.corrcoef(layer[:, 1:].ravel(), layer[:, :-1].ravel())[0, 1]
    across = np.corrcoef(layer[:, :, 1:].ravel(), layer[:, :, :-1].ravel())[0, 1]
    assert down > across + 0.2


def test_the_layer_is_one_for_all_channels_and_turned_by_180_degrees():
    images = np.zeros((3, 24, 40, 3), np.uint8)
    result = snow(images, (0.1, 0.2, 1, 0.5, 10, 4, 1.0), draws_of([0, 1, 2]))
    np.testing.assert_array_equal(result, result[..., :1].repeat(3, axis=3))
    np.testing.assert_array_equal(result, result[:, ::-1, ::-1])
    assert result.max() > 0


def test_the_mean_of_the_layer_is_what_the_normal_distribution_says():
    """Without zoom the trail keeps the mean of the flakes in the middle of a large even field."""
    mean, deviation, threshold = 0.3, 0.3, 0.5
    result = snow(
        np.zeros((40, 64, 64, 3), np.uint8), (mean, deviation, 1, threshold, 2, 2, 1.0), draws_of(np.arange(40))
    )
    values = np.clip(stats.norm(mean, deviation).ppf((np.arange(100_000) + 0.5) / 100_000), 0, 1)
    flake = np.floor(np.where(values < threshold, 0, values) * 255)
    expected = 2 * flake.mean() - 1  # half a level lost to flooring in each of two layers
    spread = 2 * flake.std() / math.sqrt(40 * 64 * 64)
    assert abs(result[..., 0].mean() - expected) < 0.6 + 4 * spread


def test_without_flakes_the_image_is_mixed_with_a_paler_one():
    images = np.zeros((1, 8, 8, 3), np.uint8)
    images[0, 0, 0] = (200, 100, 50)
    result = snow(images, (-9, 0.1, 1, 0.5, 2, 1, 0.8), draws_of([0]))
    assert result[0, 1, 1].tolist() == [25, 25, 25]  # black: 0.2 * 0.5 * 255 = 25.5
    gray = (0.299 * 200 + 0.587 * 100 + 0.114 * 50) * 1.5 + 127.5  # 313.35, not clipped yet
    assert result[0, 0, 0].tolist() == [int(0.8 * level + 0.2 * gray) for level in (200, 100, 50)]


def test_flakes_of_images_are_independent():
    result = snow(np.zeros((60, 32, 32, 3), np.uint8), (0.1, 0.2, 1, 0.5, 10, 4, 1.0), draws_of(np.arange(60)))
    layers = result[..., 0].reshape(60, -1)
    together = np.corrcoef(layers)[np.triu_indices(60, 1)]
    assert abs(together.mean()) < 0.02
    assert together.max() < 0.6


def test_an_image_snows_alike_in_every_batch_and_order():
    images = some_images(5, 24, 40)
    before = images.copy()
    constants = CIFAR["snow"][3]
    together = snow(images, constants, draws_of([7, 8, 9, 1, 2]))
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(images, before)
    backwards = snow(images[::-1].copy(), constants, draws_of([2, 1, 9, 8, 7]))
    np.testing.assert_array_equal(backwards[::-1], together)
    for image, index in enumerate([7, 8, 9, 1, 2]):
        np.testing.assert_array_equal(snow(images[image : image + 1], constants, draws_of([index]))[0], together[image])
