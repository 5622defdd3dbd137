"""Run by test_kernels.py under Triton's interpreter: the kernels of the views give the levels of the plain forms."""

import torch

from p2be_exp.augment import augmix_kernels, augmix_operators, flip_crop, flip_crop_kernel, operation_argument
from p2be_exp.augment.operations import affine_maps

SIZES = [(5, 32, 32), (4, 20, 44), (2, 41, 37)]  # 1024 pixels are one program; the last size needs two
VIEWS, WIDTH = 2, 3
source = torch.Generator().manual_seed(0)


def images_of(batch, height, width):
    """Noise; noise of low contrast, which autocontrast stretches; one channel of a single level."""
    images = torch.randint(256, (batch, 3, height, width), generator=source).to(torch.uint8)
    images[1] = images[1] // 5 + 90
    images[1, 0] = 7
    return images


def settings(batch, size):
    operation = (torch.arange(VIEWS * batch * WIDTH) % 10 - 1).view(VIEWS, batch, WIDTH)
    magnitude = 0.1 + 9.9 * torch.rand(operation.shape, generator=source, dtype=torch.float64)
    argument = operation_argument(operation, magnitude, torch.rand(operation.shape, generator=source) < 0.5, size)
    return operation, argument, affine_maps(operation, argument, size)


for batch, height, width in SIZES:
    images = images_of(batch, height, width)
    operation, argument, maps = settings(batch, (height, width))
    table = augmix_kernels.tables(images, operation, argument)
    expected = augmix_operators._tables_plain(images, operation, argument)
    look_ups = ((operation >= 0) & (operation < 4)).flatten()
    assert torch.equal(table[look_ups], expected[look_ups])
    chains = augmix_kernels.step(images, table, operation, maps)
    assert torch.equal(chains, augmix_operators._step_plain(images, expected, operation, maps))

    later = operation.view(1, -1, 1).flip(1)  # another step, from the chains themselves
    argument, maps = argument.view(1, -1, 1).flip(1), maps.view(1, -1, 1, 6).flip(1)
    table = augmix_kernels.tables(chains, later, argument)
    plain = augmix_operators._tables_plain(chains, later, argument)
    again = augmix_kernels.step(chains, table, later, maps)
    assert torch.equal(again, augmix_operators._step_plain(chains, plain, later, maps))

    weights = torch.rand(VIEWS, batch, 1 + WIDTH, generator=source)
    weights /= weights.sum(2, keepdim=True)
    for rounding, buckets in (("floor", None), ("nearest", None), ("floor", 64), ("floor", 10)):
        mixed = augmix_kernels.mix(images, chains, weights, rounding, buckets)
        assert torch.equal(mixed, augmix_operators._mix_plain(images, chains, weights, rounding, buckets)), rounding

    flip, top, left = torch.arange(batch) % 2 == 0, torch.arange(batch) % 9, 8 - torch.arange(batch) % 9
    cropped = flip_crop_kernel.flip_crop(images, flip, top, left, 4)
    assert torch.equal(cropped, flip_crop(images, flip, top, left, 4))

print("equal")
