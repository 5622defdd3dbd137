"""Batch norm and ReLU as one function: on a GPU Triton kernels that read the features once more than they must.

Forward: one pass for the statistics, one that normalises, cuts and rounds. Backward: one for both sums, one for the
gradient of the features. For it the input is kept, as by PyTorch's batch norm; it says again where the ReLU has cut.

With x' = (x - mean) / sqrt(variance + eps), y = max(weight x' + bias, 0) and g the gradient of y where y is above 0:
the gradient of bias is sum(g), that of weight sum(g x'), and that of x

    weight / sqrt(variance + eps) * (g - (sum(g) + x' sum(g x')) / N)

over the N values of a channel; with running statistics, which do not depend on x, the term in brackets is g alone.

Source: Ioffe & Szegedy 2015.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from p2be_exp.system.device_kernels import device_operator

DTYPES = (torch.float32, torch.bfloat16)
"""What the kernels read and write; they compute in float32."""


def fused_batch_norm_relu(norm: nn.BatchNorm2d, features: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """``relu(norm(features))``, with the running statistics updated in train mode as PyTorch does.

    Args:
        norm: with weight, bias and running statistics in float32, and a momentum.
        features: ``(B, C, H, W)``, two values a channel or more in train mode.
        dtype: of the result; None: that of the features.

    Returns:
        The same shape, in channels-last memory, without second derivatives. Statistics, and the gradients of weight
        and bias, are float32 whatever the features are. Nothing is read back from the device, so that a CUDA graph can
        hold it.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    running = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
    # Rows of pixels: those of channels-last memory, without a copy.
    rows = features.permute(0, 2, 3, 1)
    momentum = norm.momentum if norm.training else None
    with torch.autocast(features.device.type, enabled=False):
        out = _FusedBatchNormReLU.apply(
            rows.reshape(-1, features.shape[1]),
            norm.weight,
            norm.bias,
            running,
            momentum,
            norm.eps,
            dtype or features.dtype,
        )
    return out.view(rows.shape).permute(0, 3, 1, 2)


class _FusedBatchNormReLU(torch.autograd.Function):
    """Of rows ``(N, C)``; a momentum of None: by the running statistics, which stay as they are."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor, Tensor],
        momentum: float | None,
        eps: float,
        dtype: torch.dtype,
    ) -> Tensor:
        if momentum is None:
            mean, variance, _ = running
        else:
            mean, variance = _statistics(rows, *running, momentum)
            torch.autograd.graph.increment_version(running)  # an operator of ours does not do it
        ctx.save_for_backward(rows, mean, variance, weight, bias)
        ctx.eps, ctx.of_batch = eps, momentum is not None
        return _normalise(rows, mean, variance, weight, bias, eps, dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, mean, variance, weight, bias = ctx.saved_tensors
        to_rows, to_weight, to_bias = ctx.needs_input_grad[:3]
        of_rows = sums = None
        with torch.autocast(rows.device.type, enabled=False):  # which a backward pass inherits
            if ctx.of_batch or to_weight or to_bias:
                sums = _sums(rows, grad, mean, variance, weight, bias, ctx.eps)
            if to_rows:
                through = sums if ctx.of_batch else None
                of_rows = _to_rows(rows, grad, mean, variance, weight, bias, through, ctx.eps)
        of_bias, of_weight = (None, None) if sums is None else sums
        return of_rows, of_weight if to_weight else None, of_bias if to_bias else None, None, None, None, None


# -- the operators' plain forms ----------------------------------------------------------------------------------------


def _plain_statistics(
    rows: Tensor, running_mean: Tensor, running_var: Tensor, batches: Tensor, momentum: float
) -> Tensor:
    """Mean and biased variance ``(2, C)``; the running ones move towards them, the variance as the unbiased one."""
    variance, mean = torch.var_mean(rows.to(running_mean.dtype), 0, correction=0)
    running_mean.lerp_(mean, momentum)
    running_var.lerp_(variance * (len(rows) / (len(rows) - 1)), momentum)
    batches.add_(1)
    return torch.stack([mean, variance])


def _plain_normalise(
    rows: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
) -> Tensor:
    return (_standardised(rows, mean, variance, eps) * weight + bias).relu().to(dtype)


def _plain_sums(
    rows: Tensor, grad: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """The gradients of bias and weight, ``(2, C)``."""
    standardised = _standardised(rows, mean, variance, eps)
    grad = _cut(grad, standardised * weight + bias)
    return torch.stack([grad.sum(0), (grad * standardised).sum(0)])


def _plain_to_rows(
    rows: Tensor,
    grad: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    sums: Tensor | None,
    eps: float,
) -> Tensor:
    """The gradient of the rows; with the sums, through the statistics, too."""
    standardised = _standardised(rows, mean, variance, eps)
    grad = _cut(grad, standardised * weight + bias)
    if sums is not None:
        grad = grad - (sums[0] + standardised * sums[1]) / len(rows)
    return (grad * weight / (variance + eps).sqrt()).to(rows.dtype)


def _standardised(rows: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    return (rows.to(mean.dtype) - mean) / (variance + eps).sqrt()


def _cut(grad: Tensor, before: Tensor) -> Tensor:
    """Where the ReLU passed nothing, nothing comes back; a NaN came through."""
    return grad.to(before.dtype).masked_fill(before <= 0, 0)


_KERNELS = "p2be_exp.backbones.fused_batch_norm_kernel"
_STATISTICS = "Tensor mean, Tensor variance, Tensor weight, Tensor bias"

_statistics = device_operator(
    "batch_norm_statistics(Tensor rows, Tensor(a!) running_mean, Tensor(b!) running_var, Tensor(c!) batches, "
    "float momentum) -> Tensor",
    f"{_KERNELS}:statistics",
    _plain_statistics,
    lambda rows, running_mean, *_: running_mean.new_empty(2, rows.shape[1]),
)
_normalise = device_operator(
    f"batch_norm_relu(Tensor rows, {_STATISTICS}, float eps, ScalarType dtype) -> Tensor",
    f"{_KERNELS}:normalise",
    _plain_normalise,
    lambda rows, *others: rows.new_empty(rows.shape, dtype=others[-1]),
)
_sums = device_operator(
    f"batch_norm_relu_sums(Tensor rows, Tensor grad, {_STATISTICS}, float eps) -> Tensor",
    f"{_KERNELS}:sums",
    _plain_sums,
    lambda rows, grad, mean, *_: mean.new_empty(2, rows.shape[1]),
)
_to_rows = device_operator(
    f"batch_norm_relu_backward(Tensor rows, Tensor grad, {_STATISTICS}, Tensor? sums, float eps) -> Tensor",
    f"{_KERNELS}:to_rows",
    _plain_to_rows,
    lambda rows, *_: rows.new_empty(rows.shape),
)
