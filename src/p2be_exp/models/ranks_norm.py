"""Mean, deviation and batch norm of one number an image over the images of all processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from p2be_exp.system.collectives import differentiable_sum_over_ranks, sum_over_ranks, world_size


@dataclass(frozen=True)
class Spread:
    """Of the counted values of all ranks; scalars.

    Attributes:
        count: how many there are.
        mean: 0 where there are none.
        squares: sum of their squared distances from the mean.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    @property
    def variance(self) -> Tensor:
        """Biased: what a batch norm divides by."""
        return self.squares / self.count.clamp(min=1)

    @property
    def unbiased_variance(self) -> Tensor:
        """What a running variance is the mean of."""
        return self.squares / (self.count - 1).clamp(min=1)


def spread_over_ranks(values: Tensor, counted: bool) -> Spread:
    """The spread of values, with a gradient to those of every rank. Every rank must call it.

    Args:
        values: ``(B, 1)``, of this rank; each rank may have another B.
        counted: whether they count.
    """
    weight = torch.full_like(values, float(counted))
    count = sum_over_ranks(weight.sum())
    mean = differentiable_sum_over_ranks((weight * values).sum()) / count.clamp(min=1)
    return Spread(count, mean, differentiable_sum_over_ranks((weight * (values - mean).square()).sum()))


def std_mean_over_ranks(values: Tensor, counted: bool) -> tuple[Tensor, Tensor]:
    """As :func:`torch.std_mean` of the counted values of all ranks, without a gradient; scalars."""
    if world_size() == 1:
        return torch.std_mean(values.detach())
    spread = spread_over_ranks(values.detach(), counted)
    return spread.unbiased_variance.sqrt(), spread.mean


def norm_over_ranks(norm: nn.BatchNorm1d, values: Tensor, counted: bool) -> Tensor:
    """A batch norm in train mode, over the counted values of all ranks; the running statistics follow them on each.

    Args:
        norm: over one channel, with running statistics and a momentum, without affine parameters; or what PyTorch makes
            of it for several GPUs, which would count a rank's values that do not count.
        values: ``(B, 1)``.
        counted: whether this rank's values count; they are standardised in any case.

    Returns:
        ``(B, 1)``.
    """
    if world_size() == 1:
        return norm(values)
    running_mean, running_var, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
    assert running_mean is not None and running_var is not None and batches is not None and norm.momentum is not None  # noqa: PT018
    spread = spread_over_ranks(values, counted)
    with torch.no_grad():
        momentum = norm.momentum * (spread.count > 1).to(running_mean.dtype)
        batches.add_(1)
        running_mean.lerp_(spread.mean, momentum)
        running_var.lerp_(spread.unbiased_variance, momentum)
    return (values - spread.mean) / (spread.variance + norm.eps).sqrt()
