"""What the ranks of a job exchange; without other ranks, the values themselves."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def world_size() -> int:
    """Number of ranks; 1 without a process group."""
    grouped = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if grouped else 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, without a gradient. Every rank must call it, with the same shape.

    Args:
        values: of this rank; unchanged.
    """
    values = values.detach()
    if world_size() == 1:
        return values
    total = values.clone()
    torch.distributed.all_reduce(total)
    return total


def differentiable_sum_over_ranks(values: Tensor) -> Tensor:
    """As :func:`sum_over_ranks`, with a gradient: of the sum of all ranks' losses.

    Every rank must go back through it as well, even if its own loss has the weight 0.
    """
    return values if world_size() == 1 else _Sum.apply(values)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return sum_over_ranks(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient)


def from_first_rank(value: T) -> T:
    """The first rank's value, on every rank. Every rank must call it.

    Args:
        value: of this rank, which can be pickled; only the first one's plays a part.
    """
    if world_size() == 1:
        return value
    shared = [value]
    torch.distributed.broadcast_object_list(shared)
    return shared[0]
