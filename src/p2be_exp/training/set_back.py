"""Steps that are only tried: weights, running statistics and states of optimizers are set back in their places."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from p2be_exp.optim import CombinedOptimizer


@contextmanager
def unchanged(module: torch.nn.Module, optimizer: CombinedOptimizer) -> Iterator[None]:
    """Set back what the block changes in a module's parameters and buffers and in the optimizers' states, in place."""
    parts = [*module.parameters(), *module.buffers(), *_state_tensors(optimizer)]
    before = {id(each): (each, each.detach().clone()) for each in parts}
    try:
        yield
    finally:
        with torch.no_grad():
            for each, value in before.values():
                each.copy_(value)
            for each in _state_tensors(optimizer):
                if id(each) not in before:
                    each.zero_()


def _state_tensors(optimizer: CombinedOptimizer) -> list[Tensor]:
    return [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
