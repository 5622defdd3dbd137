"""The random numbers of an attack: a function of seed, image and restart, not of the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from p2be_exp.randomness.draws import Purpose
from p2be_exp.randomness.uniform import uniform_of_images

_RESTARTS = 1000
_HALF_STEP = 2.0**-54


class AttackRandom:
    """The random numbers of the images of one batch.

    Drawing changes no state: the same call returns the same numbers, and ``start`` is the position in the sequence of
    an image and a restart.

    Args:
        seed: 0 or more.
        images: ``(B,)`` integers, the positions of the images in their data set. Numbers are generated on their device.
        purpose: ``ATTACK`` for evaluation, ``TRAINING_ATTACK`` for a regime's inner attack.
        epoch: of the training, or a tensor that holds it, see :class:`~p2be_exp.randomness.draws.ImageRandom`; 0 in
            evaluation.

    >>> random = AttackRandom(0, torch.tensor([7, 1]))
    >>> torch.equal(random.normal(0, 3)[1:], random.select(torch.tensor([1])).normal(0, 3))
    True
    """

    def __init__(self, seed: int, images: Tensor, purpose: Purpose = Purpose.ATTACK, epoch: int | Tensor = 0) -> None:
        self.seed, self.images, self.purpose, self.epoch = seed, images, purpose, epoch

    def select(self, places: Tensor) -> AttackRandom:
        """The numbers of some of the images, by their places in the batch."""
        return AttackRandom(self.seed, self.images[places], self.purpose, self.epoch)

    def uniform(self, restart: int, n: int, start: int = 0) -> Tensor:
        """Draws ``start`` to ``start + n - 1`` of a restart (below 1000): float64 ``(B, n)`` in [0, 1)."""
        stream = self.epoch * _RESTARTS + restart
        return uniform_of_images(self.images, self.seed, stream, self.purpose, n, start)

    def normal(self, restart: int, n: int, start: int = 0) -> Tensor:
        """Standard normal, float64 ``(B, n)``: the normal quantile of a uniform draw, one each."""
        return torch.special.ndtri(self.uniform(restart, n, start).clamp_min(_HALF_STEP))
