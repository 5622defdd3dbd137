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
from p2be_exp.augment.tables import (
    apply_table,
    autocontrast_table,
    equalize_table,
    posterize_table,
    solarize_table,
)


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
_PIXELS_AT_A_TIME = 2**15


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
    height, width = size

    ten = torch.full_like(magnitude, 10)  # division by a Python number would be a multiplication by 0.1 on a GPU

    def truncated(maximum: float) -> Tensor:
        return (magnitude * maximum / ten).trunc()

    sign = 1.0 - 2.0 * negative
    argument = torch.zeros_like(magnitude)
    for kind, value in (
        (Operation.POSTERIZE, 4 - truncated(4)),
        (Operation.ROTATE, sign * truncated(30)),
        (Operation.SOLARIZE, 256 - truncated(256)),
        (Operation.SHEAR_X, sign * (magnitude * 0.3 / ten)),
        (Operation.SHEAR_Y, sign * (magnitude * 0.3 / ten)),
        (Operation.TRANSLATE_X, sign * truncated(width / 3)),
        (Operation.TRANSLATE_Y, sign * truncated(height / 3)),
    ):
        argument = torch.where(operation == kind, value, argument)
    return argument


def apply_operation(images: Tensor, operation: Tensor, argument: Tensor) -> Tensor:
    """Apply its own operation to each image.

    Args:
        images: uint8 ``(N, C, H, W)``, levels.
        operation: int64 ``(N,)``, ``Operation`` values or ``NO_OPERATION``.
        argument: float64 ``(N,)``, from ``operation_argument``.

    Returns:
        uint8 ``(N, C, H, W)``, a new tensor. On a GPU the host never waits for the device.
    """
    if images.device.type == "cpu":
        return _apply_by_group(images, operation, argument)
    return _apply_to_all(images, operation, argument)


def images_at_a_time(images: Tensor) -> int:
    """The number of images to process at once.

    On a CPU the wide intermediates should fit the cache, and stay below the size from which the allocator requests
    new pages from the system each time; 32 images of 32x32 are few enough. On a GPU: all of them.
    """
    if images.device.type == "cpu":
        return max(1, _PIXELS_AT_A_TIME // images.shape[-2:].numel())
    return len(images)


def _apply_by_group(images: Tensor, operation: Tensor, argument: Tensor) -> Tensor:
    """Gather the images of each operation and apply only that: the fast way where indexing is cheap."""
    maps = _affine_map(operation, argument, (images.shape[-2], images.shape[-1]))
    results, order = [], []
    for kind in (NO_OPERATION, *Operation):
        for rows in (operation == kind).nonzero().squeeze(1).split(images_at_a_time(images)):
            result = images.index_select(0, rows)
            if kind in _TABLES:
                result = apply_table(result, _table(kind, result, argument[rows]))
            elif kind != NO_OPERATION:
                result = apply_affine(result, maps[rows])
            results.append(result)
            order.append(rows)
    return torch.cat(results).index_select(0, torch.cat(order).argsort())


def _apply_to_all(images: Tensor, operation: Tensor, argument: Tensor) -> Tensor:
    """One look-up and one resampling for every image, possibly the identity: the host waits for no indices."""
    table = torch.arange(256, dtype=torch.uint8, device=images.device)
    for kind in _TABLES:
        chosen = operation == kind
        table = torch.where(chosen[:, None, None], _table(kind, images, argument.where(chosen, 0)), table)
    return apply_affine(
        apply_table(images, table), _affine_map(operation, argument, (images.shape[-2], images.shape[-1]))
    )


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


def _affine_map(operation: Tensor, argument: Tensor, size: tuple[int, int]) -> Tensor:
    maps = identity_map(argument)
    for kind, chosen in (
        (Operation.ROTATE, rotation(argument, size)),
        (Operation.SHEAR_X, shear_x(argument)),
        (Operation.SHEAR_Y, shear_y(argument)),
        (Operation.TRANSLATE_X, translate_x(argument)),
        (Operation.TRANSLATE_Y, translate_y(argument)),
    ):
        maps = torch.where((operation == kind)[:, None], chosen, maps)
    return maps
