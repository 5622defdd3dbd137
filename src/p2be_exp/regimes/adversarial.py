"""Common parts of the regimes that train on adversarial images: the inner attack, and a forward pass of both views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from p2be_exp.attacks.attack import Attack, attacked
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.augment import Augmentation
from p2be_exp.data import Batch
from p2be_exp.randomness.draws import Purpose
from p2be_exp.regimes.regime import Epoch, Regime, RegimeLoss
from p2be_exp.regimes.weight_perturbation import WeightPerturbation

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier


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

    def views(self, model: Classifier, batch: Batch, epoch: Epoch) -> tuple[Tensor, Tensor]:
        """The images after the geometric augmentation, and their adversarial versions: both uint8 ``(B, 3, H, W)``.

        Every image is attacked, including misclassified ones, with its own random numbers in every epoch.
        """
        clean = self.clean_view(batch, epoch)
        random = AttackRandom(self.seed, batch.indices, Purpose.TRAINING_ATTACK, epoch)
        with attacked(model):
            adversarial = self.attack.search(model, clean, batch.labels, random).images
        return clean, adversarial

    def features(self, model: Classifier, adversarial: Tensor) -> tuple[Tensor, ...]:
        """What the model's readers read of the adversarial view, with or without a gradient to the tables."""
        return model.read(adversarial, learn=self.table_learns_from_adversarial)


class RobustRegime(AdversarialRegime, ABC):
    """An adversarial regime under which the weights may be perturbed, too.

    The views of a batch are made first, at the weights as they are.

    Args:
        seed, attack, table_learns_from_adversarial: see :class:`AdversarialRegime`.
        augment: see :class:`Regime`.
        awp_gamma, awp_warmup: of :class:`~p2be_exp.regimes.weight_perturbation.WeightPerturbation`.
    """

    def __init__(
        self,
        seed: int,
        attack: Attack,
        table_learns_from_adversarial: bool,
        augment: Augmentation,
        awp_gamma: float = 0.0,
        awp_warmup: int = 0,
    ) -> None:
        super().__init__(seed, attack, table_learns_from_adversarial, augment)
        self.perturbation = WeightPerturbation(awp_gamma, awp_warmup)

    @abstractmethod
    def loss_of_views(self, model: Classifier, clean: Tensor, adversarial: Tensor, labels: Tensor) -> RegimeLoss:
        """Loss terms of a batch whose views are there: uint8 ``(B, 3, H, W)`` both, labels ``(B,)``."""

    @property
    def capturable(self) -> bool:
        """See :class:`Regime`."""
        return self.attack.capturable and not self.perturbation.gamma

    def loss(self, model: Classifier, batch: Batch, epoch: Epoch) -> RegimeLoss:
        """The terms of :meth:`loss_of_views`, at the perturbed weights where these are perturbed."""
        clean, adversarial = self.views(model, batch, epoch)
        if self.perturbation.starts_by(epoch):
            network, _ = model.learned()
            self.perturbation.ascend(
                model,
                network,
                lambda: batch.scale * self.loss_of_views(model, clean, adversarial, batch.labels).total(),
            )
        return self.loss_of_views(model, clean, adversarial, batch.labels)

    def after_backward(self) -> None:
        """Set perturbed weights back."""
        self.perturbation.restore()


class ConsistencyRegime(RobustRegime):
    """A robust regime whose loss has a term of how far the predictions for both views are apart.

    Args:
        seed, attack, table_learns_from_adversarial: see :class:`AdversarialRegime`.
        beta: weight of that term.
        augment: see :class:`Regime`.
        awp_gamma, awp_warmup: see :class:`RobustRegime`.
    """

    def __init__(
        self,
        seed: int,
        attack: Attack,
        table_learns_from_adversarial: bool,
        beta: float,
        augment: Augmentation,
        awp_gamma: float = 0.0,
        awp_warmup: int = 0,
    ) -> None:
        super().__init__(seed, attack, table_learns_from_adversarial, augment, awp_gamma, awp_warmup)
        self.beta = beta


def in_one_pass(model: Classifier, *views: tuple[Tensor, ...]) -> list[Tensor]:
    """Logits of several views by one pass of the body, so that batch norms see all their images.

    Args:
        model: whose readers have read the views.
        views: features of each, see :meth:`~p2be_exp.models.classifier.Classifier.read`.

    Returns:
        Logits ``(B, classes)`` of each view.
    """
    together = [torch.cat(of_reader) for of_reader in zip(*views, strict=True)]
    return list(model.body(*together).split([len(features[0]) for features in views]))
