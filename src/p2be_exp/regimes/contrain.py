"""ConTrain: cross-entropy on the clean view, consistency between it and an adversarial one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from p2be_exp.attacks.attack import Attack
from p2be_exp.augment import Augmentation
from p2be_exp.data import Batch
from p2be_exp.regimes.adversarial import AdversarialRegime, in_one_pass
from p2be_exp.regimes.consistency import jensen_shannon
from p2be_exp.regimes.regime import Epoch, RegimeLoss

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier


class ConTrain(AdversarialRegime):
    """Both views in one forward pass of 2B images, with a two-way Jensen-Shannon divergence.

    Args:
        seed, attack, table_learns_from_adversarial: see :class:`AdversarialRegime`.
        alpha_jsd: weight of the divergence.
        augment: see :class:`Regime`.

    Source: Kishida & Nakayama 2022, Eq. 12; ``consistency`` in the reference code.
    """

    name = "contrain"

    def __init__(
        self,
        seed: int,
        attack: Attack,
        table_learns_from_adversarial: bool,
        alpha_jsd: float,
        augment: Augmentation,
    ) -> None:
        super().__init__(seed, attack, table_learns_from_adversarial, augment)
        self.alpha_jsd = alpha_jsd

    @property
    def capturable(self) -> bool:
        """See :class:`Regime`."""
        return self.attack.capturable

    def loss(self, model: Classifier, batch: Batch, epoch: Epoch) -> RegimeLoss:
        """The terms ``ce`` (on the clean view) and ``jsd``."""
        clean, adversarial = self.views(model, batch, epoch)
        logits = in_one_pass(model, model.read(clean), self.features(model, adversarial))
        terms = {"ce": F.cross_entropy(logits[0], batch.labels), "jsd": jensen_shannon(torch.stack(logits))}
        return RegimeLoss(terms, {"jsd": self.alpha_jsd}, logits[0])
