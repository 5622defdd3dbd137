"""What the nine operations do at each magnitude, against Pillow, compiled or all at once."""

import itertools

import pytest
import torch

from grids import in_turn
from p2be_exp.augment import NO_OPERATION, Operation, apply_operation, operation_argument
from p2be_exp.augment.operations import affine_maps, apply_to_all


def uniform(n, low, high):
    return low + (high - low) * torch.rand(n, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def arguments(operation, magnitudes, negative=False, size=(32, 32)):
    magnitudes = torch.as_tensor(magnitudes, dtype=torch.float64)
    return operation_argument(
        torch.full(magnitudes.shape, operation),
        magnitudes,
        torch.full(magnitudes.shape, negative),
        size,
    )


@pytest.mark.parametrize(
    ("operation", "size", "magnitudes", "expected"),
    [
        (Operation.AUTOCONTRAST, (32, 32), [0.1, 3], [0, 0]),
        (Operation.EQUALIZE, (32, 32), [0.1, 3], [0, 0]),
        (Operation.POSTERIZE, (32, 32), [0.1, 2.49, 2.5, 3, 5, 10], [4, 4, 3, 3, 2, 0]),
        (Operation.SOLARIZE, (32, 32), [0, 0.1, 1, 3, 10], [256, 254, 231, 180, 0]),
        (Operation.ROTATE, (32, 32), [0.1, 0.34, 2.99, 3, 10], [0, 1, 8, 9, 30]),
        (Operation.SHEAR_X, (32, 32), [1, 3], [0.03, 0.09]),
        (Operation.SHEAR_Y, (32, 32), [1, 3], [0.03, 0.09]),
        (Operation.TRANSLATE_X, (32, 32), [0.93, 0.94, 2.99, 10], [0, 1, 3, 10]),
        (Operation.TRANSLATE_Y, (32, 32), [0.93, 0.94, 2.99, 10], [0, 1, 3, 10]),
        (Operation.TRANSLATE_X, (60, 90), [3], [9]),
        (Operation.TRANSLATE_Y, (60, 90), [3], [6]),
    ],
)
def test_argument_of_a_magnitude(operation, size, magnitudes, expected):
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(arguments(operation, magnitudes, size=size), expected)
    signed = operation >= Operation.ROTATE
    opposite = arguments(operation, magnitudes, negative=True, size=size)
    torch.testing.assert_close(opposite, -expected if signed else expected)


@pytest.mark.parametrize(
    ("operation", "kind"),
    [*itertools.product(Operation, ["photographs"]), *in_turn([*Operation], ["noise", "not square"])],
)
def test_operation_equals_pillow(operation, kind, noise, photographs, pillow_map, pillow_operation):
    images = {"noise": noise, "photographs": photographs, "not square": noise[:, :, :24].contiguous()}[kind]
    magnitude = torch.cat([uniform(44, 0.1, 3), uniform(10, 3, 10), torch.arange(1, 11).double()])
    negative = torch.arange(64) % 2 == 0
    which = torch.full((64,), operation)
    argument = operation_argument(which, magnitude, negative, images.shape[-2:])
    expected = pillow_map(
        images, lambda image, i: pillow_operation(image, operation, float(magnitude[i]), bool(negative[i]))
    )
    assert torch.equal(apply_operation(images, which, argument), expected)


def mixed_batch(images):
    operation = torch.arange(len(images)) % 10 - 1
    argument = operation_argument(
        operation, uniform(len(images), 0.1, 10), torch.arange(len(images)) % 3 == 0, images.shape[-2:]
    )
    return operation, argument


def test_compiled_and_all_at_once_are_equal(noise, photographs):
    images = torch.cat([noise, photographs]).repeat(4, 1, 1, 1)
    operation, argument = mixed_batch(images)
    result = apply_operation(images, operation, argument)
    maps = affine_maps(operation, argument, images.shape[-2:])
    assert torch.equal(result, apply_to_all(images, operation, argument, maps))
    alone = [apply_operation(*one) for one in zip(images.split(1), operation.split(1), argument.split(1), strict=True)]
    assert torch.equal(result, torch.cat(alone))
    untouched = operation == NO_OPERATION
    assert torch.equal(result[untouched], images[untouched])


def test_no_images_give_none(noise):
    operation, argument = mixed_batch(noise[:0])
    assert apply_operation(noise[:0], operation, argument).shape == (0, 3, 32, 32)


@pytest.mark.gpu
def test_a_gpu_gives_the_same(noise):
    operation, argument = mixed_batch(noise)
    result = apply_operation(noise.cuda(), operation.cuda(), argument.cuda())
    assert torch.equal(result.cpu(), apply_operation(noise, operation, argument))
