"""The four table operations equal Pillow's to the bit."""

import pytest
import torch
from PIL import ImageOps

from p2be_exp.augment.tables import (
    apply_table,
    autocontrast_table,
    equalize_table,
    posterize_table,
    solarize_table,
)


def random_levels(*shape, low=0, high=256):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(1)).to(torch.uint8)


@pytest.fixture(
    params=[
        "noise",
        "photographs",
        "constant",
        "two levels",
        "low range",
        "bright",
        "wide",
        "1x1",
        "1x3",
        "16x16",
        "17x16",
    ]
)
def images(request, noise, photographs):
    match request.param:
        case "noise":
            return noise
        case "photographs":
            return photographs
        case "constant":
            return torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
        case "two levels":
            return random_levels(64, 3, 1, 1, high=99) + 99 * (random_levels(64, 3, 32, 32) % 2)
        case "low range":
            return random_levels(64, 3, 1, 1, high=230) + random_levels(64, 3, 32, 32, high=26)
        case "bright":
            # About 255 pixels are below the brightest level, which is where equalize begins to do something.
            return random_levels(64, 3, 32, 32).clamp(max=64)
        case "wide":
            return random_levels(8, 3, 40, 97)
        case size:
            height, width = map(int, size.split("x"))
            return random_levels(64, 3, height, width)


def test_autocontrast_equals_pillow(images, pillow_map):
    expected = pillow_map(images, lambda image, _: ImageOps.autocontrast(image))
    assert torch.equal(apply_table(images, autocontrast_table(images)), expected)


def test_autocontrast_equals_pillow_for_every_range(pillow_map):
    """Every pair of a darkest and a brightest level, with all levels between them."""
    low, high = torch.triu_indices(256, 256).to(torch.uint8)
    low, high = (level.view(-1, 3, 1, 1)[::4] for level in (low[: 3 * 10965], high[: 3 * 10965]))
    images = torch.arange(256, dtype=torch.uint8).clamp(low, high)
    expected = pillow_map(images, lambda image, _: ImageOps.autocontrast(image))
    assert torch.equal(apply_table(images, autocontrast_table(images)), expected)


def test_equalize_equals_pillow(images, pillow_map):
    expected = pillow_map(images, lambda image, _: ImageOps.equalize(image))
    assert torch.equal(apply_table(images, equalize_table(images)), expected)


def test_posterize_equals_pillow(images, pillow_map):
    bits = 1 + torch.arange(len(images)) % 8
    expected = pillow_map(images, lambda image, index: ImageOps.posterize(image, int(bits[index])))
    assert torch.equal(apply_table(images, posterize_table(bits)), expected)


def test_solarize_equals_pillow(images, pillow_map):
    threshold = torch.arange(len(images)) * 37 % 257
    expected = pillow_map(images, lambda image, index: ImageOps.solarize(image, int(threshold[index])))
    assert torch.equal(apply_table(images, solarize_table(threshold)), expected)


def test_every_threshold_and_number_of_bits_equals_pillow(pillow_map):
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(257, 3, -1, -1)
    expected = pillow_map(levels, lambda image, threshold: ImageOps.solarize(image, threshold))
    assert torch.equal(apply_table(levels, solarize_table(torch.arange(257))), expected)
    expected = pillow_map(levels[:8], lambda image, index: ImageOps.posterize(image, 1 + index))
    assert torch.equal(apply_table(levels[:8], posterize_table(torch.arange(1, 9))), expected)


def test_no_bits_leave_black():
    """Magnitude 10 asks for 0 bits, which Pillow refuses in its newer versions."""
    assert not posterize_table(torch.tensor([0])).any()


def test_a_table_serves_its_own_image_and_channel():
    images = torch.zeros(2, 3, 2, 2, dtype=torch.uint8)
    table = torch.zeros(2, 3, 256, dtype=torch.uint8)
    table[:, :, 0] = torch.arange(6).view(2, 3)
    assert torch.equal(apply_table(images, table)[:, :, 1, 1], table[:, :, 0])
