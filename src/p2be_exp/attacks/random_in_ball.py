"""Random in ball: levels drawn at random, the baseline that every other attack must beat."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from p2be_exp.attacks.attack import Attack, Kind, Search
from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.random import AttackRandom


class RandomInBall(Attack):
    """Each value one of its allowed levels, all equally likely; one search is one try.

    Args:
        eps_levels: radius of the ball in levels.
        restarts: number of tries.
    """

    id = "random_in_ball"
    capturable = True

    def __init__(self, eps_levels: int, restarts: int) -> None:
        super().__init__(eps_levels, restarts)

    @property
    def kind(self) -> Kind:
        """It does not ask the model."""
        return "random"

    def search(
        self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom, restart: int = 0
    ) -> Search:
        """One try; the model is not asked."""
        return Search(uniform_levels(images, self.eps_levels, random, restart))


def uniform_levels(images: Tensor, eps_levels: int | Tensor, random: AttackRandom, restart: int) -> Tensor:
    """Levels uniform in the ball of :func:`bounds`, uint8 like ``images``; near 0 and 255 among those left there."""
    low, high = (bound.short() for bound in bounds(images, eps_levels))
    draws = random.uniform(restart, images[0].numel() if len(images) else 0).view(images.shape)
    # A draw below 1 times at most 256 stays below that count in float64: the highest level is never exceeded.
    return (low + (draws * (high - low + 1)).floor().short()).to(torch.uint8)
