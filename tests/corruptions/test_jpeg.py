import hashlib
from pathlib import Path

import numpy as np
import pytest

from p2be_exp.corruptions import SEVERITIES, corrupt
from p2be_exp.corruptions.constants import FAMILIES
from p2be_exp.corruptions.jpeg import _EIGHT, _SIXTEEN, _SIXTEEN_BACK, _steps, round_trip

REFERENCE = Path(__file__).with_name("libjpeg_9.npz")
"""What libjpeg 9c makes of synthetic images: ``in_HxW`` and ``out_HxW_qQUALITY``, uint8 ``(B, H, W, 3)``."""

SIZES = ["1x1", "7x9", "16x15", "33x47", "32x32"]
QUALITIES = sorted({quality for family in FAMILIES.values() for (quality,) in family["jpeg_compression"]})

# MD5 of five severities of ``in_32x32``, made by what makes CIFAR-10-C and CIFAR-100-C as they were published.
AS_PUBLISHED = {
    "brightness": "bd94befe88512e1be3a68825fe04ca30",
    "contrast": "8d1f5f30b17888879b4abf9344f04052",
    "defocus_blur": "ddf165a19d581ed6b2940fb850c927db",
    "gaussian_blur": "886e2d88d26943191582732bd9f63a7a",
    "jpeg_compression": "cb2e6a191cbe5b49d346a79ccfa5b0af",
    "pixelate": "d1f587d5133948b82c7e98f36aa1015f",
    "saturate": "87a1e1e98f3f83cf42fea28fb394ead8",
    "zoom_blur": "f907dc616d71f28b124e97ed75306831",
}


def extreme(height, width):
    """Levels of 0 and 255 alone: pixel by pixel, in colour and in black and white, and in blocks of 4."""
    rng = np.random.default_rng(height + 1000 * width)
    pixels = rng.integers(0, 2, (height, width, 3))
    blocks = np.kron(rng.integers(0, 2, (height // 4 + 1, width // 4 + 1, 3)), np.ones((4, 4, 1), int))
    return 255 * np.stack([pixels, pixels[..., :1].repeat(3, 2), blocks[:height, :width]]).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_equals_libjpeg_9(size):
    with np.load(REFERENCE) as stored:
        for quality in QUALITIES:
            result = round_trip(stored[f"in_{size}"], quality)
            np.testing.assert_array_equal(result, stored[f"out_{size}_q{quality}"], err_msg=f"quality {quality}")


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (50, 3), (17, 16), (100, 130)])
def test_equals_the_installed_libjpeg_9(size, tmp_path):
    jpeglib = pytest.importorskip("jpeglib", reason="jpeglib is not installed: pip install -e '.[test]'")
    jpeglib.version.set("9c")
    for image in extreme(*size):
        for quality in (7, 40, 80, 100):
            file = jpeglib.from_spatial(image)
            file.samp_factor = "4:2:0"
            # Given a quality, this package allows steps above 255.
            file.write_spatial(str(tmp_path / "x.jpg"), qt=np.stack(_steps(quality)).astype(np.uint16))
            decoded = jpeglib.read_spatial(str(tmp_path / "x.jpg")).spatial
            np.testing.assert_array_equal(round_trip(image[None], quality)[0], decoded)


@pytest.mark.parametrize("name", AS_PUBLISHED)
def test_the_deterministic_corruptions_are_the_published_ones(name):
    with np.load(REFERENCE) as stored:
        images = stored["in_32x32"]
    indices = np.arange(len(images))
    made = [corrupt(images, name, severity, dataset="cifar10", indices=indices) for severity in SEVERITIES]
    assert hashlib.md5(np.concatenate(made).tobytes()).hexdigest() == AS_PUBLISHED[name]


@pytest.mark.parametrize(("half", "pixels"), [(_EIGHT, 8), (_SIXTEEN, 16), (_SIXTEEN_BACK, 16)])
def test_the_matrices_are_cosines(half, pixels):
    frequency, pixel = np.arange(8)[:, None], np.arange(pixels // 2)
    norm = np.where(frequency == 0, 1, np.sqrt(2))
    exact = 2**13 * norm * np.cos((2 * pixel + 1) * frequency * np.pi / (2 * pixels))
    assert abs(half - exact).max() < 1.5


def test_no_sum_leaves_32_bits():
    """The bounds of the module's text, from the matrices."""
    there = [2 * abs(half).sum(axis=1).max() for half in (_EIGHT, _SIXTEEN)]
    assert max(128 * rows / 2**11 * rows for rows in there) <= 2**30
    # Coefficients of norm 1 on the way back: levels and rounding have a norm of 1024 and 8 * 127.5, and 64 numbers
    # whose squares add up to 1 a sum of at most 8.
    total = 8 * (1024 + 8 * 127.5)
    assert max(abs(half).max() for half in (_EIGHT, _SIXTEEN_BACK)) ** 2 * total / 2**11 < 2**31 - 2**18


@pytest.mark.parametrize("level", [0, 1, 77, 254, 255])
def test_an_even_gray_image_is_rounded_to_steps_of_its_mean(level):
    images = np.full((1, 20, 20, 3), level, np.uint8)
    assert np.abs(round_trip(images, 100).astype(int) - images).max() == 0
    # At quality 50 the step of the mean is 16, an eighth of which is 2 levels.
    assert np.abs(round_trip(images, 50).astype(int) - images).max() <= 1


def test_many_images_are_what_each_is_alone():
    # 33 images of 1 x 2 squares: more than are in work at a time, and not a multiple of it.
    images = np.random.default_rng(0).integers(0, 256, (33, 9, 30, 3), dtype=np.uint8)
    together = round_trip(images, 40)
    for image, expected in zip(images, together, strict=True):
        np.testing.assert_array_equal(round_trip(image[None], 40)[0], expected)
    assert round_trip(images[:0], 40).shape == (0, 9, 30, 3)
    # However they lie in memory.
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(round_trip(planes.transpose(0, 2, 3, 1), 40), together)
    np.testing.assert_array_equal(round_trip(images[::-2], 40), together[::-2])
