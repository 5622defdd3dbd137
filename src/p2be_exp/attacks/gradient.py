"""The gradient that an attack follows, and 0 where a network lets none through."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from p2be_exp.models.readers import Reader


def gradient_of(loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of a loss with respect to each of its inputs, in their shapes.

    It is 0 for an input that the loss does not hang on, and for all of them where the loss has no graph (a network that
    detaches what it reads, or computes on numbers): an attack then stands still, and its results say that every value
    of the gradient was 0.

    Args:
        loss: a single number.
        inputs: tensors that require a gradient.
    """
    if not loss.requires_grad:
        return [torch.zeros_like(each) for each in inputs]
    found = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [
        torch.zeros_like(each) if gradient is None else gradient for each, gradient in zip(inputs, found, strict=True)
    ]


def level_gradient_of(
    loss: Tensor, readers: Sequence[Reader], features: Sequence[Tensor], levels: Tensor, slopes: Sequence[Tensor]
) -> Tensor:
    """The gradient of a loss with respect to the levels, ``(B, 3, H, W)``, the sum over the readers.

    Args:
        loss: a single number.
        readers: of the model.
        features: what each of them read; they require a gradient.
        levels: uint8 ``(B, 3, H, W)``, where it was taken.
        slopes: ``(256, M)`` for each reader, see :func:`p2be_exp.models.surrogate.slopes`.
    """
    of_readers = zip(readers, gradient_of(loss, features), slopes, strict=True)
    parts = [reader.level_gradient(gradient, levels, slope) for reader, gradient, slope in of_readers]
    # A network that has diverged is wrong, or has no gradient: it must not send the point out of the ball.
    return functools.reduce(operator.add, parts).nan_to_num(0.0)
