"""Common parts of the regimes that train on adversarial images: the inner attack, and a forward pass of both views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from p2be_exp.attacks.attack import Attack, attacked
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.augment import Augmentation
from p2be_exp.data import Batch
from p2be_exp.randomness.draws import Purpose
from p2be_exp.regimes.regime import Regime

if TYPE_CHECKING:
    from p2be_exp.models.model import EncodedClassifier


class AdversarialRegime(Regime):
    """A regime with an inner attack.

    Args:
        seed: see :class:`Regime`.
        attack: makes the adversarial view; its parameters get no gradient, batch norms are in eval mode meanwhile.
        table_learns_from_adversarial: whether the gradient reaches the table through the codes of the adversarial view,
            as in the reference code.
        augment: see :class:`Regime`.
    """

    def __init__(
        self,
        seed: int,
        attack: Attack,
        table_learns_from_adversarial: bool,
        augment: Augmentation,
    ) -> None:
        super().__init__(seed, augment)
        self.attack = attack
        self.table_learns_from_adversarial = table_learns_from_adversarial

    def views(self, model: EncodedClassifier, batch: Batch, epoch: int) -> tuple[Tensor, Tensor]:
        """The images after the geometric augmentation, and their adversarial versions: both uint8 ``(B, 3, H, W)``.

        Every image is attacked, including misclassified ones, with its own random numbers in every epoch.
        """
        clean = self.clean_view(batch, epoch)
        random = AttackRandom(self.seed, batch.indices, Purpose.TRAINING_ATTACK, epoch)
        with attacked(model):
            adversarial = self.attack.search(model, clean, batch.labels, random).images
        return clean, adversarial

    def features(self, model: EncodedClassifier, adversarial: Tensor) -> Tensor:
        """The stem's features of the adversarial view, with or without a gradient to the table."""
        table = model.encoding.table()
        return model.stem(adversarial, table if self.table_learns_from_adversarial else table.detach())


def in_one_pass(model: EncodedClassifier, *features: Tensor) -> list[Tensor]:
    """Logits of several views' stem features by one pass of the trunk, so that batch norms see all their images."""
    return list(model.trunk(torch.cat(features)).split([len(each) for each in features]))
