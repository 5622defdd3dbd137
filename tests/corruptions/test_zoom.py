"""Zoom blur against SciPy's linear zoom, which the published generators call, to the bit."""

import math

import numpy as np
import pytest
from scipy import ndimage

from p2be_exp.corruptions.constants import CIFAR, IMAGENET
from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.zoom import sum_of_zooms, zoom_blur

FACTORS = sorted({f for family in (CIFAR, IMAGENET) for factors in family["zoom_blur"] for f in factors})
SNOW = sorted({constants[2] for family in (CIFAR, IMAGENET) for constants in family["snow"]})
SIZES = [(32, 32), (24, 40), (64, 48), (96, 128)]


def some_images(n, height, width):
    """Random levels and smooth colours by turns; uint8 (n, height, width, 3)."""
    out = np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    out[1::2] = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    return out


def no_draws(images):
    return Draws("test", "zoom_blur", 1, np.arange(len(images)))


def plain_zoom(x, factor):
    """The definition for one image (H, W, C): crop, SciPy's zoom (corner-aligned, order 1), trim."""
    crop = [math.ceil(length / factor) for length in x.shape[:2]]
    top, left = ((length - c) // 2 for length, c in zip(x.shape[:2], crop, strict=True))
    zoomed = ndimage.zoom(x[top : top + crop[0], left : left + crop[1]], (factor, factor, 1), order=1)
    top, left = ((z - length) // 2 for z, length in zip(zoomed.shape[:2], x.shape[:2], strict=True))
    return zoomed[top : top + x.shape[0], left : left + x.shape[1]]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_zoom_is_scipys_to_the_bit(height, width, dtype):
    x = np.random.default_rng(0).normal(size=(1, height, width, 2)).astype(dtype)
    for factor in (*FACTORS, *SNOW, 1.25 + 2**-52):  # the last rounds 32.5 up to 33
        result = sum_of_zooms(x, (factor,))
        assert result.dtype == dtype
        np.testing.assert_array_equal(result[0], plain_zoom(x[0], factor), err_msg=f"{factor}")


def test_one_zoom_is_scipys_at_imagenets_size():
    x = np.random.default_rng(0).random((1, 224, 224, 1))
    for factor in (1.12, 1.3, *SNOW):
        np.testing.assert_array_equal(sum_of_zooms(x, (factor,))[0], plain_zoom(x[0], factor))


def test_sizes_and_positions_of_a_zoom():
    """Independent of SciPy: coordinates as values come out as the coordinates that were read."""
    x = np.stack(np.meshgrid(np.arange(32.0), np.arange(32.0), indexing="ij"), axis=2)[None]
    for factor, crop, side in [
        (1.0, 32, 32),
        (1.01, 32, 32),
        (1.06, 31, 33),
        (1.75, 19, 33),
        (2.25, 15, 34),
        (1.25, 26, 32),
    ]:
        first, trim = (32 - crop) // 2, (side - 32) // 2
        expected = first + (trim + np.arange(32)) * (crop - 1) / (side - 1)
        result = sum_of_zooms(x, (factor,))[0]
        np.testing.assert_allclose(result[:, 5, 0], expected, atol=1e-12)
        np.testing.assert_allclose(result[5, :, 1], expected, atol=1e-12)


def test_the_last_pixel_is_never_black():
    """At 26 pixels and a factor of 1.75 rounding puts the last place beyond the last pixel; SciPy reads 0 there."""
    np.testing.assert_allclose(sum_of_zooms(np.ones((1, 26, 26, 3)), (1.75,)), 1, atol=1e-15)


@pytest.mark.parametrize("factor", [1.0, 1.01])
def test_a_zoom_of_one_or_hardly_more_is_the_identity_at_32(factor):
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(sum_of_zooms(x, (factor,)), x)


def plain_zoom_blur(image, factors):
    """The published sequence in float32."""
    x = (np.array(image) / 255.0).astype(np.float32)
    total = np.zeros_like(x)
    for factor in factors:
        total += plain_zoom(x, factor)
    x = (x + total) / (len(factors) + 1)
    assert x.dtype == np.float32
    return (np.clip(x, 0, 1) * 255).astype(np.uint8)


@pytest.mark.parametrize("family", [CIFAR, IMAGENET], ids=["cifar", "imagenet"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_zoom_blur_equals_the_published_sequence(family, height, width):
    images = some_images(2, height, width)
    for factors in family["zoom_blur"]:
        expected = np.stack([plain_zoom_blur(image, factors) for image in images])
        np.testing.assert_array_equal(zoom_blur(images, factors, no_draws(images)), expected)


def test_zoom_blur_equals_the_published_sequence_at_imagenets_size():
    images = some_images(1, 224, 224)
    factors = IMAGENET["zoom_blur"][4]
    expected = plain_zoom_blur(images[0], factors)
    np.testing.assert_array_equal(zoom_blur(images, factors, no_draws(images))[0], expected)


def test_every_level_is_the_published_float32():
    images = np.arange(256, dtype=np.uint8).repeat(8 * 8 * 3).reshape(256, 8, 8, 3)
    expected = np.stack([plain_zoom_blur(image, (1.0,)) for image in images])
    np.testing.assert_array_equal(zoom_blur(images, (1.0,), no_draws(images)), expected)
    np.testing.assert_array_equal(expected, images)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 31)])
def test_the_smallest_images_are_zoomed(height, width):
    images = some_images(2, height, width)
    for factors in CIFAR["zoom_blur"]:
        expected = np.stack([plain_zoom_blur(image, factors) for image in images])
        np.testing.assert_array_equal(zoom_blur(images, factors, no_draws(images)), expected)


def test_an_image_is_blurred_alike_in_every_batch():
    images = some_images(5, 24, 40)
    before = images.copy()
    factors = CIFAR["zoom_blur"][4]
    together = zoom_blur(images, factors, no_draws(images))
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(images, before)
    for image in range(5):
        alone = images[image : image + 1]
        np.testing.assert_array_equal(zoom_blur(alone, factors, no_draws(alone))[0], together[image])
