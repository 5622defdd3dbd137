"""The look-up whose gradient is a histogram: rows summed by level in one kernel, in place of a sort of all pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from p2be_exp.encodings.level_sums import level_sums


def look_up(levels: Tensor, table: Tensor, dtype: torch.dtype) -> Tensor:
    """The row of each level, as ``embedding`` gives it, with the table's gradient from :func:`level_sums`.

    Args:
        levels: uint8 ``(N,)``.
        table: ``(256, M)``.
        dtype: of the rows.

    Returns:
        ``(N, M)``. The table's gradient is summed in float32, in the same order every time.
    """
    return _LookUp.apply(levels, table, dtype)


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, levels: Tensor, table: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(levels)
        ctx.dtype = table.dtype
        return F.embedding(levels.int(), table.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        (levels,) = ctx.saved_tensors
        sums = level_sums(levels.view(1, 1, 1, -1), grad.reshape(1, 1, *grad.shape))
        return None, sums.view(256, -1).to(ctx.dtype), None
