"""Is a captured step the ordinary one? Both are tried from one state, on the batch at hand and on quite another one.

A capture can fail without a word: it repeats whatever Python decided while it was made, so a number that is not read
from a buffer, such as an epoch or a learning rate, stays that of the first batch. Losses would still fall.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from p2be_exp.training.set_back import unchanged
from p2be_exp.training.whole_step import WholeStep

LOSS_TOLERANCE, MOVE_TOLERANCE = 0.05, 0.25
"""Relative differences of losses, and of what a step adds to the weights. On a GPU two ordinary steps differ by less,
through the order of sums, also where an inner attack follows the signs of a gradient; an epoch that is not read from
its buffer makes another step altogether, half a learning rate half of it."""


class Outcome(NamedTuple):
    """What a step does.

    Attributes:
        loss: of the batch, float32.
        moves: what is added to each parameter.
    """

    loss: Tensor
    moves: list[Tensor]


def outcomes(step: WholeStep, run: Callable[[], object]) -> list[Outcome]:
    """What a step does to the batch in its buffers and to another one; all that it changes is set back.

    Args:
        step: with a batch in its buffers.
        run: the step, or its graph's replay.
    """
    first = _outcome(step, run)
    with another_batch(step):
        return [first, _outcome(step, run)]


def check_outcomes(ordinary: Sequence[Outcome], captured: Sequence[Outcome]) -> None:
    """Compare what the two ways do.

    Raises:
        RuntimeError: they differ by more than the order of sums explains.
    """
    for mine, theirs in zip(captured, ordinary, strict=True):
        losses = float(mine.loss), float(theirs.loss)
        apart, length = (
            math.sqrt(sum(float(each.double().square().sum()) for each in moves))
            for moves in ([a - b for a, b in zip(mine.moves, theirs.moves, strict=True)], theirs.moves)
        )
        if not (math.isclose(*losses, rel_tol=LOSS_TOLERANCE) and apart <= MOVE_TOLERANCE * length):
            raise RuntimeError(
                f"a replay is another step than the ordinary one: loss {losses[0]:.4g} and {losses[1]:.4g}, "
                f"weights {apart / length if length else math.inf:.0%} of the step apart"
            )


@contextmanager
def another_batch(step: WholeStep) -> Iterator[None]:
    """The buffers hold other images, labels, image numbers, epoch, scale and learning rates while this lasts."""
    images, labels, indices = step.batch_buffers
    changed = [images, labels, indices, step.epoch, step.scale, *step.rates.values()]
    before = [each.clone() for each in changed]
    images.bitwise_not_()  # the negative
    labels.copy_(labels.roll(1))
    indices.add_(1)
    step.epoch.add_(1)
    for each in (step.scale, *step.rates.values()):
        each.mul_(0.5)
    try:
        yield
    finally:
        for buffer, value in zip(changed, before, strict=True):
            buffer.copy_(value)


def _outcome(step: WholeStep, run: Callable[[], object]) -> Outcome:
    devices = [step.device.index or 0] if step.device.type == "cuda" else []
    with unchanged(step.module, step.optimizer), torch.random.fork_rng(devices=devices):
        before = [each.detach().clone() for each in step.module.parameters()]
        run()
        moves = [each.detach() - old for each, old in zip(step.module.parameters(), before, strict=True)]
        return Outcome(step.loss.detach().float().clone(), moves)
