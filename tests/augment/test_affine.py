"""The affine maps equal Pillow's rotate and bilinear transform to the bit.

Pillow computes them in double precision. A build of it that fuses multiplication and addition could differ by
a level where a value falls on a whole level; its x86-64 builds do not.
"""

import pytest
import torch
from PIL import Image

from p2be_exp.augment.affine import apply_affine, rotation, shear_x, shear_y, translate_x, translate_y

BILINEAR = Image.Resampling.BILINEAR


def uniform(n, low, high):
    return low + (high - low) * torch.rand(n, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.fixture(params=["noise", "photographs", "wide", "high", "small"])
def images(request, noise, photographs):
    match request.param:
        case "noise":
            return noise[:16]
        case "photographs":
            return photographs[::4]
        case "wide":
            return noise.reshape(-1, 3, 16, 64)[:16]
        case "high":
            return noise.flatten(2)[:16, :, :945].unflatten(2, (45, 21))
        case "small":
            return noise[:16, :, :5, :4].contiguous()


def repeat(images, values):
    """Every image with every value: the batch and the value of each of its images."""
    return images.repeat(len(values), 1, 1, 1), values.repeat_interleave(len(images))


@pytest.mark.parametrize("degrees", [range(-30, 31), range(-180, 181, 15)], ids=["slight", "far"])
def test_rotation_equals_pillow(images, degrees, pillow_map):
    batch, degrees = repeat(images[:6], torch.tensor(degrees))
    result = apply_affine(batch, rotation(degrees, images.shape[-2:]))
    assert torch.equal(result, pillow_map(batch, lambda image, i: image.rotate(int(degrees[i]), BILINEAR)))


@pytest.mark.parametrize("shear", [torch.arange(-30, 31) / 100.0, uniform(60, -0.3, 0.3)], ids=["round", "random"])
@pytest.mark.parametrize(("make", "position"), [(shear_x, 1), (shear_y, 3)])
def test_shear_equals_pillow(images, shear, make, position, pillow_map):
    batch, shear = repeat(images[:6], shear.double())
    check_transform(batch, make(shear), position, shear, pillow_map)


@pytest.mark.parametrize("pixels", [torch.arange(-11, 12).double(), uniform(20, -11, 11)], ids=["whole", "fractional"])
@pytest.mark.parametrize(("make", "position"), [(translate_x, 2), (translate_y, 5)])
def test_translation_equals_pillow(images, pixels, make, position, pillow_map):
    batch, pixels = repeat(images, pixels)
    check_transform(batch, make(pixels), position, pixels, pillow_map)


def check_transform(images, maps, position, values, pillow_map):
    def expected(image, index):
        numbers = [1, 0, 0, 0, 1, 0]
        numbers[position] = float(values[index])
        return image.transform(image.size, Image.Transform.AFFINE, numbers, BILINEAR)

    assert torch.equal(apply_affine(images, maps), pillow_map(images, expected))


def test_any_map_equals_pillow(noise, photographs, pillow_map):
    images = torch.cat([noise, photographs])
    maps = torch.eye(2, 3, dtype=torch.float64).flatten() + uniform(128 * 6, -1, 1).view(128, 6)
    maps[:, [2, 5]] *= 16

    def expected(image, index):
        return image.transform(image.size, Image.Transform.AFFINE, maps[index].tolist(), BILINEAR)

    assert torch.equal(apply_affine(images, maps), pillow_map(images, expected))


def test_directions():
    images = torch.zeros(1, 3, 5, 5, dtype=torch.uint8)
    images[..., 2, 4] = 200
    one = torch.ones(1, dtype=torch.float64)
    assert apply_affine(images, translate_x(one))[0, 0, 2, 3] == 200  # to the left
    assert apply_affine(images, translate_y(one))[0, 0, 1, 4] == 200  # upwards
    assert apply_affine(images, rotation(90 * one, (5, 5)))[0, 0, 0, 2] == 200  # counter-clockwise
