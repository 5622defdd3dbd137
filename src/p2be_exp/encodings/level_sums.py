"""Sums of rows by level, a histogram over 256 levels: what a table's gradient is made of."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.system.device_kernels import device_operator


def level_sums(levels: Tensor, rows: Tensor, kernel: int = 1, precision: str = "tf32x3") -> Tensor:
    """Sum of the rows that meet the pixels of each level, by colour and tap of a convolution's window.

    Args:
        levels: uint8 ``(B, C, H, W)``.
        rows: float32 or bfloat16 ``(B, H, W, N)``, such as the gradient of a convolution's output.
        kernel: side of the window, odd; the convolution's stride is 1 and its padding keeps the size.
        precision: of float32 rows on a GPU: ``tf32x3`` (three products in TF32, which lose ``2**-21`` of a row at
            most) or ``tf32``.

    Returns:
        float32 ``(C, 256, kernel * kernel, N)``: at tap ``(ky, kx)`` a pixel at ``(y, x)`` meets the row at
        ``(y + kernel // 2 - ky, x + kernel // 2 - kx)``, where there is one. float64 rows, which no kernel takes, have
        sums in float64.
    """
    return _operator(levels, rows, kernel, precision)


def _plain(levels: Tensor, rows: Tensor, kernel: int, precision: str) -> Tensor:
    sums, around = _empty(levels, rows, kernel, precision).zero_(), kernel // 2
    padded = F.pad(rows.to(sums.dtype), (0, 0, around, around, around, around))
    height, width = levels.shape[2:]
    for tap, (ky, kx) in enumerate(itertools.product(range(kernel), repeat=2)):
        top, left = kernel - 1 - ky, kernel - 1 - kx
        met = padded[:, top : top + height, left : left + width].reshape(-1, rows.shape[3])
        for colour in range(levels.shape[1]):
            sums[colour, :, tap].index_add_(0, levels[:, colour].reshape(-1).int(), met)
    return sums


def _empty(levels: Tensor, rows: Tensor, kernel: int, precision: str) -> Tensor:
    dtype = torch.promote_types(rows.dtype, torch.float32)
    return rows.new_empty(levels.shape[1], 256, kernel * kernel, rows.shape[3], dtype=dtype)


_operator = device_operator(
    "level_sums(Tensor levels, Tensor rows, int kernel, str precision) -> Tensor",
    "p2be_exp.encodings.level_sums_kernel:level_sums",
    _plain,
    _empty,
)
