"""The sign function and the approximate gradient that lets a binary table learn."""

from __future__ import annotations

import torch
from torch import Tensor


class _ApproximateSign(torch.autograd.Function):
    """Hard sign forward, slope of a piecewise quadratic backward."""

    @staticmethod
    def forward(ctx, weight: Tensor, slope_at_zero: float) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.slope_at_zero = slope_at_zero
        return _sign(weight)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        slope = (2 - 2 * weight.abs()).clamp(min=0)
        slope = torch.where(weight == 0, ctx.slope_at_zero, slope)
        return grad * slope, None


def approximate_sign(weight: Tensor, slope_at_zero: float) -> Tensor:
    """Sign with ``sign(0) = +1`` whose gradient is that of a piecewise quadratic.

    The slope is ``2 + 2w`` on (-1, 0), ``2 - 2w`` on (0, 1) and 0 outside (Bi-Real Net's approximation).

    Args:
        weight: latent values, any shape.
        slope_at_zero: slope at exactly ``w = 0``: 4 in the reference code, where both halves apply, 2 in the paper.

    Returns:
        -1 or +1, shape and dtype of ``weight``. Without a gradient under ``torch.jit.trace``, whose graph cannot
        contain Python functions.

    Source: Kishida & Nakayama 2022, section III; the value at zero from the reference implementation.
    """
    if torch.jit.is_tracing():
        return _sign(weight.detach())
    return _ApproximateSign.apply(weight, slope_at_zero)


def _sign(weight: Tensor) -> Tensor:
    return torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)


def binarize(weight: Tensor, slope_at_zero: float) -> Tensor:
    """Latent values to bits, ``(sign(w) + 1) / 2``: 0 or 1, with the gradient of :func:`approximate_sign` halved.

    Source: Kishida & Nakayama 2022, Eq. 5.
    """
    return (approximate_sign(weight, slope_at_zero) + 1) / 2
