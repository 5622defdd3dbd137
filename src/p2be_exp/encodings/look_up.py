"""The look-up whose gradient is a histogram: rows summed by level in one kernel, in place of a sort of all pixels.

Importing this module needs Triton: ask :func:`p2be_exp.encodings.kernels.usable` first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from p2be_exp.encodings.level_sums import level_sums


def look_up(levels: Tensor, table: Tensor) -> Tensor:
    """The row of each level, as ``embedding`` gives it, with the table's gradient from :func:`level_sums`.

    Args:
        levels: uint8 ``(N,)``.
        table: float32 or bfloat16 ``(256, M)``.

    Returns:
        ``(N, M)``. The gradient is summed in float32, in the same order every time.
    """
    return _LookUp.apply(levels, table)


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, levels: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(levels)
        return F.embedding(levels.int(), table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        (levels,) = ctx.saved_tensors
        sums = level_sums(levels.view(1, 1, 1, -1), grad.view(1, 1, *grad.shape))
        return None, sums.view(256, -1).to(grad.dtype)
