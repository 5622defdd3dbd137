"""Glass blur against a pixel-by-pixel transcription, and what the scattering does to pixels."""

import numpy as np
import pytest
from scipy import ndimage, stats

from grids import in_turn
from p2be_exp.corruptions.constants import CIFAR, IMAGENET
from p2be_exp.corruptions.draws import Draws
from p2be_exp.corruptions.glass import glass_blur


def some_images(n, height, width, seed=0):
    """Random levels and smooth colours by turns; uint8 (n, height, width, 3)."""
    rng = np.random.default_rng(seed)
    out = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    out[1::2] = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    return out


def draws_of(indices, severity=1):
    return Draws("test", "glass_blur", severity, np.asarray(indices))


def filtered(image, sigma):
    """Clipped, times 255, truncated; one channel at a time."""
    channels = [ndimage.gaussian_filter(image[:, :, c] / 255, sigma, mode="nearest", truncate=4) for c in range(3)]
    return (np.clip(np.stack(channels, axis=2), 0, 1) * 255).astype(np.uint8)


def plain_glass(image, sigma, reach, passes, uniform):
    """The definition: one pixel after the other, (right, down) from two draws, the pixel overwritten."""
    height, width = image.shape[:2]
    pixels = filtered(image, sigma).tolist()
    draw = iter(uniform.tolist())
    for _ in range(passes):
        for row in range(height - reach, reach, -1):
            for column in range(width - reach, reach, -1):
                right = int(2 * reach * next(draw)) - reach
                down = int(2 * reach * next(draw)) - reach
                pixels[row][column] = pixels[row + down][column + right]
    assert next(draw, None) is None
    return filtered(np.array(pixels, dtype=np.uint8), sigma)


def number_of_draws(height, width, reach, passes):
    return 2 * passes * (height - 2 * reach) * (width - 2 * reach)


@pytest.mark.parametrize("family", [CIFAR, IMAGENET], ids=["cifar", "imagenet"])
@pytest.mark.parametrize(("severity", "size"), in_turn([1, 2, 3, 4, 5], [(32, 32), (24, 40), (11, 9)]))
def test_glass_blur_equals_the_plain_scattering(family, severity, size):
    height, width = size
    sigma, reach, passes = family["glass_blur"][severity - 1]
    images = some_images(2, height, width, severity)
    draws = draws_of([5, 3], severity)
    uniform = draws.uniform(number_of_draws(height, width, reach, passes))
    expected = [plain_glass(x, sigma, reach, passes, u) for x, u in zip(images, uniform, strict=True)]
    np.testing.assert_array_equal(glass_blur(images, (sigma, reach, passes), draws), np.stack(expected))


def test_glass_blur_equals_the_plain_scattering_at_imagenets_size():
    sigma, reach, passes = IMAGENET["glass_blur"][4]
    images = some_images(1, 224, 224)
    uniform = draws_of([0]).uniform(number_of_draws(224, 224, reach, passes))
    expected = plain_glass(images[0], sigma, reach, passes, uniform[0])
    np.testing.assert_array_equal(glass_blur(images, (sigma, reach, passes), draws_of([0]))[0], expected)


def test_one_pass_within_one_pixel_is_a_gather():
    """Partners lie above and to the left, where no pixel has been visited yet."""
    images = some_images(2, 20, 33)
    right, down = np.moveaxis(draws_of([0, 1]).integers(-1, 1, 18 * 31 * 2).reshape(2, 18 * 31, 2), 2, 0)
    rows, columns = np.meshgrid(np.arange(19, 1, -1), np.arange(32, 1, -1), indexing="ij")
    expected = images.copy()
    for image in range(2):
        expected[image, rows.ravel(), columns.ravel()] = images[
            image, rows.ravel() + down[image], columns.ravel() + right[image]
        ]
    result = glass_blur(images, (0.05, 1, 1), draws_of([0, 1]))  # at this sigma the gaussian is one tap
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(result[:, :2], images[:, :2])
    np.testing.assert_array_equal(result[:, :, :2], images[:, :, :2])


def partners(images, result):
    """Which neighbour each pixel from (2, 2) on came from: (B, H - 2, W - 2), 0 itself, 1 left, 2 above, 3 both."""
    height, width = images.shape[1:3]
    near = [images[:, 2 - down : height - down, 2 - right : width - right] for down in (0, 1) for right in (0, 1)]
    equal = np.stack([(result[:, 2:, 2:] == pixels).all(axis=3) for pixels in near])
    assert (equal.sum(axis=0) == 1).all()
    return equal.argmax(axis=0)


def test_the_four_partners_are_equally_likely_and_independent():
    places = np.arange(32 * 32)
    image = np.stack([places % 256, places // 256, 0 * places], axis=1).astype(np.uint8).reshape(1, 32, 32, 3)
    images = image.repeat(50, axis=0)  # every pixel of its own colour
    found = partners(images, glass_blur(images, (0.05, 1, 1), draws_of(np.arange(50))))
    assert stats.chisquare(np.bincount(found.ravel(), minlength=4)).pvalue > 1e-4
    other_images, other_columns, other_rows = (np.roll(found, 1, axis) for axis in (0, 2, 1))
    for other in (other_images, other_columns, other_rows):
        table = np.histogram2d(found.ravel(), other.ravel(), bins=4)[0]
        assert stats.chi2_contingency(table).pvalue > 1e-4


def test_passes_have_draws_of_their_own():
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, 2:, 2:] = 255
    once, twice = (glass_blur(image, (0.05, 1, passes), draws_of([0])) for passes in (1, 2))
    shares = [np.mean(result[0, 2, 2:] == 0) for result in (once, twice)]
    # Row 2 is black with chance 1/2 after one pass; after two a pixel is white if neither pass looked up.
    assert 0.25 < shares[0] < 0.75
    assert shares[1] > shares[0]


@pytest.mark.parametrize("constants", [(0.4, 1, 2), (1.1, 3, 2)])
def test_an_image_is_scattered_alike_in_every_batch_and_order(constants):
    images = some_images(5, 24, 40)
    before = images.copy()
    together = glass_blur(images, constants, draws_of([7, 8, 9, 1, 2]))
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(images, before)
    backwards = glass_blur(images[::-1].copy(), constants, draws_of([2, 1, 9, 8, 7]))
    np.testing.assert_array_equal(backwards[::-1], together)
    for image, index in enumerate([7, 8, 9, 1, 2]):
        np.testing.assert_array_equal(
            glass_blur(images[image : image + 1], constants, draws_of([index]))[0], together[image]
        )
