"""The attack that a gate is trained against: PGD through gate and parts, with other settings for each image."""

from __future__ import annotations

import torch
from torch import Tensor

from p2be_exp.attacks.gate_objective import gate_objective
from p2be_exp.attacks.pgd import PGD, Asked
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.models.classifier import Classifier
from p2be_exp.randomness.draws import ImageRandom, Purpose


class GateAttack(PGD):
    """PGD with a radius, a target and a share of the gate for each image, drawn for seed, epoch and image.

    The radius is ``eps_levels`` times a number uniform in ``radii``, to the nearest level and 1 at least (0 where
    ``eps_levels`` is 0); the share of the gate is uniform in [0, gate_loss_high]; with probability 1 / (targets + 1) an
    image's cross-entropy is raised, else the targeted DLR towards one of its ``targets`` most likely wrong classes. The
    reference makes a copy of every image for each of these; the expectation is the same.

    Args:
        like: gives radius, surrogate, steps and what else PGD has.
        targets: see above; where there are fewer wrong classes, so many.
        radii: lowest and highest factor of the radius.
        gate_loss_high: see above.

    Source: Bai et al. 2024 (arXiv 2301.12554), ``adaptive_smoothing/attacks.py`` of the code, with a number of steps
    that is fixed instead of chi-square with 75 degrees of freedom, and whole levels.
    """

    def __init__(self, like: PGD, targets: int, radii: tuple[float, float], gate_loss_high: float) -> None:
        options = {name: getattr(like, name) for name in ("momentum", "step_size", "start", "adaptive", "width")}
        super().__init__(
            like.eps_levels, like.gradient, "mix", like.steps, like.restarts, stop_when_wrong=False, **options
        )
        self.targets, self._radii, self.gate_loss_high = targets, radii, gate_loss_high

    @property
    def capturable(self) -> bool:  # type: ignore[override]
        """Not tried."""
        return False

    def radii(self, images: Tensor, random: AttackRandom) -> Tensor:
        """Those of the images, int16 ``(B, 1, 1, 1)``."""
        low, high = self._radii
        drawn = low + (high - low) * _draws(random)[:, 0]
        return (self.eps_levels * drawn).round().clamp(min=min(self.eps_levels, 1)).short().view(-1, 1, 1, 1)

    def ask(self, model: Classifier, images: Tensor, labels: Tensor, random: AttackRandom) -> Asked:
        """What answers with each image's own objective."""
        _, share, choice = _draws(random).unbind(1)
        weight = (self.gate_loss_high * share).float()
        return _AskedOfGate(model, self, images, weight, self._targets(model, images, labels, choice))

    def _targets(self, model: Classifier, images: Tensor, labels: Tensor, choice: Tensor) -> Tensor | None:
        """``(B,)``, -1 for the cross-entropy; None where there are no targets."""
        if not self.targets:
            return None
        with torch.no_grad():
            wrong = model(images).scatter(1, labels[:, None], -torch.inf)
        ranked = wrong.argsort(dim=1, descending=True)
        rank = (choice * (min(self.targets, wrong.shape[1] - 1) + 1)).long() - 1
        target = ranked.gather(1, rank.clamp(min=0)[:, None]).squeeze(1)
        return torch.where(rank < 0, rank, target)


def _draws(random: AttackRandom) -> Tensor:
    """Of radius, share of the gate and target: ``(B, 3)`` in [0, 1)."""
    return ImageRandom(random.seed, random.epoch, random.images, Purpose.MIXING).uniform(3)


class _AskedOfGate(Asked):
    def __init__(self, model: Classifier, attack: PGD, images: Tensor, weight: Tensor, targets: Tensor | None) -> None:
        super().__init__(model, attack, images)
        self._weight, self._targets = weight, targets

    def objective(self, output: Tensor, gamma: Tensor, labels: Tensor, place: Tensor) -> Tensor:
        targets = None if self._targets is None else self._targets[place]
        return gate_objective(output, gamma, labels, self._weight[place], targets)
