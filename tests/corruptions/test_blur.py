"""Gaussian and defocus blur against their definitions, and the sum of shifted copies against a loop."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from p2be_exp.corruptions.blur import defocus_blur, disk_kernel, gaussian_blur, smoothed, sum_of_shifts
from p2be_exp.corruptions.constants import CIFAR, IMAGENET
from p2be_exp.corruptions.draws import Draws

SIZES = [(32, 32), (24, 40), (41, 23), (96, 72)]
DISKS = [*CIFAR["defocus_blur"], *IMAGENET["defocus_blur"]]


def some_images(n, height, width, seed=0):
    """Random levels, smooth colours and black and white blocks, by turns; uint8 (n, height, width, 3)."""
    rng = np.random.default_rng(seed)
    out = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    out[1::3] = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    blocks = rng.integers(0, 2, (1, height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8) * 255
    out[2::3] = blocks.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
    return out


def no_draws(images):
    return Draws("test", "gaussian_blur", 1, np.arange(len(images)))


def truncated(x):
    return (np.clip(x, 0, 1) * 255).astype(np.uint8)


# ---- gaussian


@pytest.mark.parametrize("family", [CIFAR, IMAGENET], ids=["cifar", "imagenet"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_gaussian_blur_is_scipys_filter_of_one_channel_at_a_time(family, height, width):
    images = some_images(3, height, width)
    for (sigma,) in family["gaussian_blur"]:
        expected = np.empty(images.shape)
        for image in range(3):
            for channel in range(3):
                x = images[image, :, :, channel] / 255
                expected[image, :, :, channel] = ndimage.gaussian_filter(x, sigma, mode="nearest", truncate=4)
        np.testing.assert_array_equal(gaussian_blur(images, (sigma,), no_draws(images)), truncated(expected))


@pytest.mark.parametrize("sigma", [0.05, 0.25, 0.4, 0.8, 1, 2, 6])
def test_smoothed_is_a_gaussian_cut_at_four_sigma_with_repeated_edges(sigma):
    images = some_images(3, 24, 40)
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    x = images / 255
    for axis in (1, 2):
        places = np.arange(x.shape[axis])
        x = sum(
            weight * x.take(np.clip(places + k, 0, places[-1]), axis)
            for k, weight in zip(range(-radius, radius + 1), weights, strict=True)
        )
    np.testing.assert_allclose(smoothed(images, sigma), x, rtol=0, atol=1e-13)


def test_a_sigma_of_five_hundredths_changes_nothing():
    images = some_images(3, 32, 32)
    np.testing.assert_array_equal(gaussian_blur(images, (0.05,), no_draws(images)), images)


# ---- disk


def published_disk(radius, alias_sigma):
    """The definition: grid, disk, sum 1, OpenCV's gaussian."""
    line, size = (range(-8, 9), 3) if radius <= 8 else (range(-radius, radius + 1), 5)
    disk = np.array([[float(x * x + y * y <= radius * radius) for x in line] for y in line], dtype=np.float32)
    disk /= disk.sum()
    return cv2.GaussianBlur(disk, (size, size), alias_sigma)


@pytest.mark.parametrize(("radius", "alias_sigma"), DISKS)
def test_the_disk_is_the_published_one(radius, alias_sigma):
    kernel = disk_kernel(radius, alias_sigma)
    assert kernel.dtype == np.float32
    # OpenCV may add in another order or fuse a product and a sum: the last bit or two of a float32.
    np.testing.assert_allclose(kernel, published_disk(radius, alias_sigma), rtol=3e-7, atol=1e-12)


def test_cifars_disks_are_a_small_gaussian_a_plus_and_a_box():
    for radius, sigma in CIFAR["defocus_blur"][:3]:
        line = np.exp(-np.array([1, 0, 1]) / (2 * sigma**2))
        expected = np.outer(line, line) / line.sum() ** 2
        kernel = disk_kernel(radius, sigma)
        np.testing.assert_allclose(kernel[7:10, 7:10], expected, rtol=1e-6)
        assert np.count_nonzero(kernel) == 9
    plus = np.array([[0, 0.2, 0], [0.2, 0.2, 0.2], [0, 0.2, 0]])
    np.testing.assert_allclose(disk_kernel(1, 0.2)[7:10, 7:10], plus, atol=5e-6)  # the gaussian's side taps are 4e-6
    np.testing.assert_allclose(disk_kernel(1.5, 0.1)[7:10, 7:10], 1 / 9, rtol=1e-6)


def plain_defocus(images, kernel):
    """Correlation with the whole kernel, zeros too, mirrored without the edge pixel, row by row, in float64."""
    half = len(kernel) // 2
    height, width = images.shape[1:3]
    rows = [mirrored(row, height) for row in range(-half, height + half)]
    columns = [mirrored(column, width) for column in range(-half, width + half)]
    padded = (images / 255)[:, rows][:, :, columns]
    total = np.zeros(images.shape)
    for i in range(len(kernel)):
        for j in range(len(kernel)):
            total += np.float64(kernel[i, j]) * padded[:, i : i + height, j : j + width]
    return total


def mirrored(place, length):
    place = abs(place)
    return place if place < length else 2 * (length - 1) - place


@pytest.mark.parametrize(("radius", "alias_sigma"), DISKS)
def test_defocus_blur_equals_the_plain_correlation(radius, alias_sigma):
    kernel = disk_kernel(radius, alias_sigma)
    for height, width in SIZES:
        images = some_images(3, height, width)
        result = defocus_blur(images, (radius, alias_sigma), no_draws(images))
        np.testing.assert_array_equal(result, truncated(plain_defocus(images, kernel)))


def test_defocus_blur_equals_the_plain_correlation_at_imagenets_size():
    images = some_images(2, 224, 224)
    expected = truncated(plain_defocus(images, disk_kernel(10, 0.5)))
    np.testing.assert_array_equal(defocus_blur(images, (10, 0.5), no_draws(images)), expected)


@pytest.mark.parametrize(("radius", "alias_sigma"), DISKS)
def test_defocus_blur_agrees_with_the_published_calls(radius, alias_sigma):
    images = some_images(3, 72, 96)[::2]  # random and blocks; a ramp holds many values on the brink of two levels
    kernel = published_disk(radius, alias_sigma)
    expected = np.stack([cv2.filter2D(image / 255, -1, kernel) for image in images])
    difference = defocus_blur(images, (radius, alias_sigma), no_draws(images)).astype(int) - truncated(expected)
    # OpenCV sums in another order, large kernels by a Fourier transform: where a flat area ends on the brink of two
    # levels, rounding decides. Where neighbours are random no value does.
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference[0]) == 0


def test_an_even_area_keeps_its_level_or_loses_one_as_the_weights_add_up():
    levels = np.arange(256, dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (256, 32, 32, 3)).copy()
    for radius, alias_sigma in DISKS[:5]:  # the five that touch no edge of their grid: their sums are 1 but for 1e-7
        total = disk_kernel(radius, alias_sigma).sum(dtype=np.float64)
        assert abs(total - 1) < 1e-7
        result = defocus_blur(images, (radius, alias_sigma), no_draws(images))
        expected = levels if total > 1 else np.maximum(levels, 1) - 1
        np.testing.assert_array_equal(result, np.broadcast_to(expected[:, None, None, None], images.shape))


def test_white_stays_white_where_the_weights_sum_to_more_than_one():
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    assert disk_kernel(8, 0.5).sum() > 1.01
    np.testing.assert_array_equal(defocus_blur(white, (8, 0.5), no_draws(white)), white)


# ---- the sum of shifted copies


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("border", ["edge", "reflect"])
def test_sum_of_shifts_equals_a_loop_over_everything(channels, border):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (2, 8, 11, channels), dtype=np.uint8)
    values, weights = rng.normal(size=256), rng.normal(size=5)
    shifts = rng.integers(-7, 8, (2, 5, 2))
    result = sum_of_shifts(images, values, shifts, weights, border)
    beyond = mirrored if border == "reflect" else lambda place, length: min(max(place, 0), length - 1)
    for image, row, column, channel in np.ndindex(images.shape):
        expected = 0.0
        for (down, right), weight in zip(shifts[image], weights, strict=True):
            level = images[image, beyond(row + down, 8), beyond(column + right, 11), channel]
            expected += weight * values[level]
        assert result[image, row, column, channel] == expected


# ---- both


@pytest.mark.parametrize(
    ("blur", "constants"),
    [(gaussian_blur, (0.8,)), (gaussian_blur, (6,)), (defocus_blur, (1, 0.2)), (defocus_blur, (4, 0.5))],
)
def test_an_image_is_blurred_alike_in_every_batch(blur, constants):
    images = some_images(6, 24, 40)
    before = images.copy()
    together = blur(images, constants, no_draws(images))
    assert together.dtype == np.uint8
    assert not np.shares_memory(together, images)
    np.testing.assert_array_equal(images, before)
    for image in range(6):
        alone = images[image : image + 1]
        np.testing.assert_array_equal(blur(alone, constants, no_draws(alone))[0], together[image])


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 19)])
def test_the_smallest_images_are_blurred(height, width):
    images = some_images(3, height, width)
    for gaussian, disk in zip(CIFAR["gaussian_blur"], CIFAR["defocus_blur"], strict=True):
        assert gaussian_blur(images, gaussian, no_draws(images)).shape == images.shape
        expected = truncated(plain_defocus(images, disk_kernel(*disk)[5:12, 5:12]))
        np.testing.assert_array_equal(defocus_blur(images, disk, no_draws(images)), expected)
