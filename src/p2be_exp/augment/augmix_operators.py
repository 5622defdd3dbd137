"""The steps of AugMix as operators: Triton kernels for GPUs (``augmix_kernels``), PyTorch's operators elsewhere.

Chains are ordered by view, image and chain; the W chains of a view of an image begin as that image.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor

from p2be_exp.augment.affine import apply_affine
from p2be_exp.augment.operations import operation_tables
from p2be_exp.augment.tables import apply_table
from p2be_exp.augment.view_rounding import Rounding
from p2be_exp.system.device_kernels import device_operator

_KERNELS = "p2be_exp.augment.augmix_kernels"


def chain_images(images: Tensor, views: int, width: int) -> Tensor:
    """Each image once for each of its chains: ``(B, C, H, W)`` -> ``(views * B * width, C, H, W)``."""
    return images.expand(views, -1, -1, -1, -1).flatten(0, 1).repeat_interleave(width, dim=0)


def mix_plain(images: Tensor, chains: Tensor, weights: Tensor, rounding: Rounding) -> Tensor:
    """Weighted sums of images and their chains, as levels.

    Args:
        images: uint8 ``(B, C, H, W)``.
        chains: uint8 ``(V * B * W, C, H, W)``.
        weights: float32 ``(V, B, 1 + W)``, the image's first.
        rounding: of the sums.

    Returns:
        uint8 ``(V * B, C, H, W)``.
    """
    views, _, terms = weights.shape
    factors = weights.double().flatten(0, 1)[:, :, None, None, None].unbind(1)
    summands = [images.expand(views, -1, -1, -1, -1).flatten(0, 1), *chains.unflatten(0, (-1, terms - 1)).unbind(1)]
    mixture = (summands[0] * factors[0]).float()
    for summand, factor in zip(summands[1:], factors[1:], strict=True):
        # In float64, in which product and sum are exact, and rounded once: a fused multiplication and addition on
        # every device. A level may depend on the last bit.
        mixture = (mixture + summand * factor).float()
    return rounding.levels(mixture)


def _tables_plain(images: Tensor, operation: Tensor, argument: Tensor) -> Tensor:
    chains = chain_images(images, operation.shape[0], operation.shape[2])
    return operation_tables(chains, operation.flatten(), argument.flatten())


def _tables_empty(images: Tensor, operation: Tensor, argument: Tensor) -> Tensor:
    return images.new_empty(operation.numel(), images.shape[1], 256)


def _step_plain(images: Tensor, table: Tensor, operation: Tensor, maps: Tensor) -> Tensor:
    chains = chain_images(images, operation.shape[0], operation.shape[2])
    return apply_affine(apply_table(chains, table), maps.view(-1, 6))


def _step_empty(images: Tensor, table: Tensor, operation: Tensor, maps: Tensor) -> Tensor:
    return images.new_empty(operation.numel(), *images.shape[1:])


def _mix_plain(images: Tensor, chains: Tensor, weights: Tensor, rounding: str, buckets: int | None) -> Tensor:
    return mix_plain(images, chains, weights, Rounding(cast("Any", rounding), buckets))


def _mix_empty(images: Tensor, chains: Tensor, weights: Tensor, rounding: str, buckets: int | None) -> Tensor:
    return images.new_empty(weights.shape[0] * weights.shape[1], *images.shape[1:])


chain_tables = device_operator(
    "augmix_tables(Tensor images, Tensor operation, Tensor argument) -> Tensor",
    f"{_KERNELS}:tables",
    _tables_plain,
    _tables_empty,
)
"""The table of each chain's operation: see the kernel's ``tables``; the identity for what is not a look-up."""

chain_step = device_operator(
    "augmix_step(Tensor images, Tensor table, Tensor operation, Tensor maps) -> Tensor",
    f"{_KERNELS}:step",
    _step_plain,
    _step_empty,
)
"""One operation of every chain: see the kernel's ``step``."""

mix = device_operator(
    "augmix_mix(Tensor images, Tensor chains, Tensor weights, str rounding, int? buckets) -> Tensor",
    f"{_KERNELS}:mix",
    _mix_plain,
    _mix_empty,
)
""":func:`mix_plain`, with the rounding's two attributes."""
