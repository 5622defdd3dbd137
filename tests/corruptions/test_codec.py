import cv2
import numpy as np
import pytest

from grids import in_turn
from p2be_exp.corruptions.codec import jpeg_compression, pixelate
from p2be_exp.corruptions.constants import constants_of
from p2be_exp.corruptions.draws import Draws

SIZES = [(32, 32), (24, 40), (41, 27), (8, 9), (224, 224)]


def pictures(height, width):
    """A random, a smooth and an even image."""
    rng = np.random.default_rng(height * width)
    random = rng.integers(0, 256, (height, width, 3))
    smooth = cv2.resize(
        rng.integers(0, 256, (5, 5, 3)).astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
    )
    return np.stack([random, smooth, 0 * random + 77]).astype(np.uint8)


def no_draws(images):
    return Draws("digits", "pixelate", 1, np.arange(len(images)))


def box(line, new):
    """The first axis to ``new`` pixels: the mean of the pixels whose centres are in the box, half rounds up."""
    old = len(line)
    scale = old / new
    half, narrow = max(scale, 1) / 2, 1 / max(scale, 1)
    out = []
    for place in range(new):
        centre = (place + 0.5) * scale
        # A centre on the box's very edge counts as these sums happen to round: Pillow's have the same terms.
        within = range(max(int(centre - half + 0.5), 0), min(int(centre + half + 0.5), old))
        within = [k for k in within if -0.5 < (k - centre + 0.5) * narrow <= 0.5]
        out.append(np.floor(line[within].astype(float).mean(axis=0) + 0.5))
    return np.array(out)


def boxes(image, height, width):
    across = box(image.swapaxes(0, 1), width).swapaxes(0, 1)
    return box(across, height)


@pytest.mark.parametrize(("severity", "size"), in_turn([1, 2, 3, 4, 5], SIZES))
def test_pixelate_equals_its_definition(size, severity):
    (factor,), images = constants_of("pixelate", severity, *size), pictures(*size)
    few = tuple(int(length * factor) for length in size)
    result = pixelate(images, (factor,), no_draws(images))
    for image, got in zip(images, result, strict=True):
        np.testing.assert_array_equal(got, boxes(boxes(image, *few), *size))


def test_pixelate_at_32_leaves_the_published_numbers_of_pixels():
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    for severity, side in enumerate((30, 28, 27, 24, 20), start=1):
        result = pixelate(images, constants_of("pixelate", severity, 32, 32), no_draws(images))[0]
        assert 1 + (result[1:] != result[:-1]).any(axis=(1, 2)).sum() == side
        assert 1 + (result[:, 1:] != result[:, :-1]).any(axis=(0, 2)).sum() == side


@pytest.mark.parametrize(("function", "name"), [(pixelate, "pixelate"), (jpeg_compression, "jpeg_compression")])
@pytest.mark.parametrize("side", [32, 224])
def test_severer_is_farther_from_the_image(function, name, side):
    # Of a picture with structure of all sizes.
    images = np.stack([pictures(side, side)[:2].astype(int).mean(axis=0)]).astype(np.uint8)
    away = [
        abs(function(images, constants_of(name, severity, side, side), no_draws(images)).astype(int) - images).mean()
        for severity in (1, 2, 3, 4, 5)
    ]
    assert away == sorted(away)
    assert away[0] > 0


@pytest.mark.parametrize(("function", "constants"), [(pixelate, (0.75,)), (jpeg_compression, (50,))])
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
