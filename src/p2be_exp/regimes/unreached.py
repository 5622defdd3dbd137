"""The parameters that a loss does not hang on, which several processes have to know of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def unreached(loss: Tensor, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Those of the parameters that get no gradient from a loss, by a walk through its graph.

    Args:
        loss: a single number, whose graph is still there.
        parameters: in question.
    """
    found, left = set(), [loss.grad_fn]
    seen = set(left)
    while left:
        node: Any = left.pop()
        if node is None:
            continue
        if (leaf := getattr(node, "variable", None)) is not None:
            found.add(leaf)
        fresh = {each for each, _ in node.next_functions} - seen
        seen |= fresh
        left += fresh
    return [each for each in parameters if each not in found]


def nothing_of(parameters: Iterable[nn.Parameter]) -> Tensor | float:
    """0, with a gradient of 0 to each of the parameters: data-parallel training waits for all of them.

    Of a parameter that is not finite it is nan.
    """
    sums = [each.sum() for each in parameters]
    return 0.0 * torch.stack(sums).sum() if sums else 0.0
