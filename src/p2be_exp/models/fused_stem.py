"""Look-up and first convolution as one operator, without a code tensor on a GPU, and both gradients without codes.

Both gradients follow from the sums of the output's gradient by level, colour and tap
(:func:`p2be_exp.encodings.level_sums.level_sums`), whose number does not depend on M, by one small product of matrices
each.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from p2be_exp.encodings.level_sums import level_sums
from p2be_exp.encodings.table import encode
from p2be_exp.system.device_kernels import device_operator


def fused_conv2d(images: Tensor, table: Tensor, weight: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The convolution of an encoded image at stride 1 with the padding that keeps its size, zeros in code space.

    Args:
        images: levels, uint8 ``(B, C, H, W)``.
        table: codes, float32 ``(256, M)``.
        weight: float32 ``(out_channels, C * M, k, k)``, k odd.
        dtype: of the two in the product and of the result: float32, or bfloat16, which is summed in float32.

    Returns:
        ``(B, out_channels, H, W)`` in channels-last memory. The gradients of table and weight are float32, from sums
        in float32 whatever the dtype is. On a GPU float32 products are made in TF32 where
        ``torch.backends.cudnn.allow_tf32`` has PyTorch's convolutions made so.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be levels of dtype uint8, found {images.dtype}")
    with torch.autocast(images.device.type, enabled=False):
        return _FusedConv2d.apply(images, table, weight, dtype).permute(0, 3, 1, 2)


class _FusedConv2d(torch.autograd.Function):
    """Output ``(B, H, W, out_channels)``."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, table: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        # The way back has the numbers of the way there: those of the weight that was rounded.
        rounded, packed = table.to(dtype), _packed(weight, images.shape[1], table.shape[1]).to(dtype)
        ctx.save_for_backward(images, rounded, packed)
        ctx.dtypes = table.dtype, weight.dtype
        return _operator(images, rounded, packed, weight.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None, None]:
        images, table, packed = ctx.saved_tensors
        precision = "tf32" if torch.backends.cudnn.allow_tf32 else "tf32x3"
        with torch.autocast(images.device.type, enabled=False):  # which a backward pass inherits
            sums = level_sums(images, grad, math.isqrt(packed.shape[1]), precision)
            of_table, of_weight = ctx.dtypes
            to_table = _to_table(sums, packed.to(of_table)) if ctx.needs_input_grad[1] else None
            to_weight = _to_weight(sums, table.to(of_weight)) if ctx.needs_input_grad[2] else None
        return None, to_table, to_weight, None


def _to_table(sums: Tensor, packed: Tensor) -> Tensor:
    """The table's gradient: at each level, over colours, taps and channels, the sums times the weight."""
    across = packed.transpose(2, 3).reshape(-1, packed.shape[2])  # colour, tap, channel; value
    return sums.permute(1, 0, 2, 3).flatten(1) @ across


def _to_weight(sums: Tensor, table: Tensor) -> Tensor:
    """The weight's gradient: for each colour, tap and channel, over the levels, the table times the sums."""
    colours, _, taps, out_channels = sums.shape
    kernel = math.isqrt(taps)
    # Of two dimensions: of more, matmul takes another kernel where the table learns.
    by_value = (table.T @ sums.permute(1, 0, 2, 3).flatten(1)).view(-1, colours, taps, out_channels)
    return by_value.permute(3, 1, 0, 2).reshape(out_channels, -1, kernel, kernel)


def _packed(weight: Tensor, colours: int, M: int) -> Tensor:
    """The weight as the kernel reads it, ``(colours, taps, M, out_channels)``."""
    return weight.reshape(weight.shape[0], colours, M, -1).permute(1, 3, 2, 0)


def _plain(images: Tensor, table: Tensor, packed: Tensor, kernel: int) -> Tensor:
    weight = packed.permute(3, 0, 2, 1).reshape(packed.shape[3], -1, kernel, kernel)
    out = F.conv2d(encode(images, table), weight, padding=kernel // 2)
    return out.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)


def _empty(images: Tensor, table: Tensor, packed: Tensor, kernel: int) -> Tensor:
    batch, _, height, width = images.shape
    return table.new_empty(batch, height, width, packed.shape[3])


_operator = device_operator(
    "fused_convolution(Tensor images, Tensor table, Tensor packed, int kernel) -> Tensor",
    "p2be_exp.models.fused_stem_kernel:fused_convolution",
    _plain,
    _empty,
)
