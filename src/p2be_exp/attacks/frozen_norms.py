"""Batch norms of an attacked network: their gradient to the features alone, by two products.

In eval mode a batch norm multiplies by constants. PyTorch's own way back on a CPU still sums over all pixels what only
the gradients of its weight and bias need, which nobody asks for in a search; that takes 3 to 5 times as long.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@contextmanager
def frozen_norms(model: nn.Module) -> Iterator[None]:
    """While this lasts, batch norms in eval mode sum nothing for gradients of their parameters: float32, on a CPU.

    Outputs and gradients are PyTorch's, to the bit. Parts of a model that are compiled stay as they are, and so do
    subclasses of PyTorch's batch norm.

    Args:
        model: its parameters need no gradient.
    """
    norms = [module for module in model.modules() if type(module) is nn.BatchNorm2d and "forward" not in vars(module)]
    if any(module._compiled_call_impl is not None for module in model.modules()):
        norms = []
    try:
        for norm in norms:
            norm.forward = functools.partial(_forward, norm)  # type: ignore[method-assign]
        yield
    finally:
        for norm in norms:
            vars(norm).pop("forward", None)


def _forward(norm: nn.BatchNorm2d, features: Tensor) -> Tensor:
    mean, variance, weight, bias = norm.running_mean, norm.running_var, norm.weight, norm.bias
    if norm.training or mean is None or variance is None or weight is None or weight.requires_grad:
        return nn.BatchNorm2d.forward(norm, features)
    single = features.dtype == weight.dtype == torch.float32
    if features.device.type != "cpu" or not features.requires_grad or not single:
        return nn.BatchNorm2d.forward(norm, features)
    return _FrozenNorm.apply(features, mean, variance, weight, bias, norm.eps)


class _FrozenNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(variance, weight)
        last = features.is_contiguous(memory_format=torch.channels_last) and not features.is_contiguous()
        ctx.eps, ctx.memory = eps, torch.channels_last if last else torch.contiguous_format
        return F.batch_norm(features, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        variance, weight = ctx.saved_tensors
        # As PyTorch rounds: the deviation in float64, then a product with each of the two.
        inverse = (1 / torch.sqrt(variance.double() + ctx.eps)).to(grad.dtype)
        grad = grad.contiguous(memory_format=ctx.memory)  # in the features' order, as PyTorch's
        return (grad * inverse.view(1, -1, 1, 1)).mul_(weight.view(1, -1, 1, 1)), None, None, None, None, None
