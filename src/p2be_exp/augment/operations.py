"""The nine AugMix operations: the meaning of a magnitude for each, and their application image by image.

Source: Hendrycks et al. 2020, "AugMix", ``augmentations.py`` of its reference code, without the four operations
that overlap with the test corruptions.
"""

from enum import IntEnum

import torch
from torch import Tensor

from p2be_exp.augment.affine import (
    apply_affine,
    identity_map,
    rotation,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
)
from p2be_exp.augment.augmix_compiled import apply_compiled
from p2be_exp.augment.tables import (
    apply_table,
    autocontrast_table,
    equalize_table,
    posterize_table,
    solarize_table,
)
from p2be_exp.system.device_constants import kept_on_device


class Operation(IntEnum):
    """The operations: the four look-up tables first, then the five affine maps."""

    AUTOCONTRAST = 0
    EQUALIZE = 1
    POSTERIZE = 2
    SOLARIZE = 3
    ROTATE = 4
    SHEAR_X = 5
    SHEAR_Y = 6
    TRANSLATE_X = 7
    TRANSLATE_Y = 8


NO_OPERATION = -1
_TABLES = (Operation.AUTOCONTRAST, Operation.EQUALIZE, Operation.POSTERIZE, Operation.SOLARIZE)


def operation_argument(operation: Tensor, magnitude: Tensor, negative: Tensor, size: tuple[int, int]) -> Tensor:
    """The argument of an operation at a magnitude: bits, threshold, degrees, shear or pixels.

    Args:
        operation: int64, ``Operation`` values, of any shape.
        magnitude: float64 of the same shape, 0..10, the strength (the AugMix paper's severity).
        negative: bool of the same shape: rotate, shear or shift in the opposite direction.
        size: (H, W) of the images, in pixels; a shift is up to a third of the side along which it moves.

    Returns:
        float64 of the same shape; 0 for the two operations without an argument. At the recipe's magnitudes,
        up to 3: 4 or 3 bits, threshold 180..256, up to 8 degrees, shear below 0.09, up to 3 of 32 pixels.
    """
    # One look-up for all operations, since each further tensor operation is a launch on a GPU. The 10 is a tensor
    # because division by a Python number would be a multiplication by 0.1 there.
    maximum, ten, whole, forward, backward, base = _settings(size, operation.device)[operation].unbind(-1)
    strength = magnitude * maximum / ten
    strength = torch.where(whole > 0, strength.trunc(), strength)
    return base + torch.where(negative, backward, forward) * strength


def affine_maps(operation: Tensor, argument: Tensor, size: tuple[int, int]) -> Tensor:
    """The affine map of each operation, for :func:`~p2be_exp.augment.affine.apply_affine`.

    Args:
        operation: int64, ``Operation`` values or ``NO_OPERATION``, of any shape.
        argument: float64 of the same shape, from ``operation_argument``.
        size: (H, W) of the images.

    Returns:
        float64, of that shape and 6; the identity for what is not an affine operation.
    """
    degrees = argument.where(operation == Operation.ROTATE, 0)
    # The argument is added to one of the identity's six numbers. Those of a rotation get 0 times its degrees.
    return rotation(degrees, size) + _places(operation.device)[operation] * argument[..., None]


def apply_operation(images: Tensor, operation: Tensor, argument: Tensor) -> Tensor:
    """Apply its own operation to each image.

    Args:
        images: uint8 ``(N, C, H, W)``, levels.
        operation: int64 ``(N,)``, ``Operation`` values or ``NO_OPERATION``.
        argument: float64 ``(N,)``, from ``operation_argument``.

    Returns:
        uint8 ``(N, C, H, W)``, a new tensor. On a GPU the host never waits for the device.
    """
    maps = affine_maps(operation, argument, (images.shape[-2], images.shape[-1]))
    if images.device.type == "cpu":
        return apply_compiled(images, operation, argument, maps)
    return apply_to_all(images, operation, argument, maps)


def apply_to_all(images: Tensor, operation: Tensor, argument: Tensor, maps: Tensor) -> Tensor:
    """:func:`apply_operation` in PyTorch's operators, with the operations' ``affine_maps`` ``(N, 6)``.

    One look-up and one resampling for every image, possibly the identity: the host waits for no indices.
    """
    return apply_affine(apply_table(images, operation_tables(images, operation, argument)), maps)


def operation_tables(images: Tensor, operation: Tensor, argument: Tensor) -> Tensor:
    """The look-up table of each image's operation: uint8 ``(N, C, 256)``, the identity for what is not a look-up."""
    table = torch.arange(256, dtype=torch.uint8, device=images.device).expand(*images.shape[:2], -1)
    for kind in _TABLES:
        chosen = operation == kind
        table = torch.where(chosen[:, None, None], _table(kind, images, argument.where(chosen, 0)), table)
    return table


def _table(kind: int, images: Tensor, argument: Tensor) -> Tensor:
    match kind:
        case Operation.AUTOCONTRAST:
            return autocontrast_table(images)
        case Operation.EQUALIZE:
            return equalize_table(images)
        case Operation.POSTERIZE:
            return posterize_table(argument)
        case _:
            return solarize_table(argument)


@kept_on_device
def _settings(size: tuple[int, int], device: torch.device) -> Tensor:
    """What makes an argument of a magnitude: float64 ``(10, 6)``, by ``Operation``, the last row for no operation.

    The columns: the strength at magnitude 10; 10; whether it is truncated to a whole number; its factor, and that of
    the opposite direction; what it is added to.
    """
    height, width = size
    rows = {
        Operation.POSTERIZE: (4, 10, 1, -1, -1, 4),
        Operation.SOLARIZE: (256, 10, 1, -1, -1, 256),
        Operation.ROTATE: (30, 10, 1, 1, -1, 0),
        Operation.SHEAR_X: (0.3, 10, 0, 1, -1, 0),
        Operation.SHEAR_Y: (0.3, 10, 0, 1, -1, 0),
        Operation.TRANSLATE_X: (width / 3, 10, 1, 1, -1, 0),
        Operation.TRANSLATE_Y: (height / 3, 10, 1, 1, -1, 0),
    }
    without = (0, 10, 0, 0, 0, 0)
    table = [rows.get(operation, without) for operation in Operation]
    return torch.tensor([*table, without], dtype=torch.float64, device=device)


@kept_on_device
def _places(device: torch.device) -> Tensor:
    """float64 ``(10, 6)``: 1 at the number of the map that is the operation's argument; the last row for none."""
    places = torch.zeros(len(Operation) + 1, 6, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    for operation, make in (
        (Operation.SHEAR_X, shear_x),
        (Operation.SHEAR_Y, shear_y),
        (Operation.TRANSLATE_X, translate_x),
        (Operation.TRANSLATE_Y, translate_y),
    ):
        places[operation] = (make(one) - identity_map(one))[0]
    return places.to(device)
