"""The AugMix regime: cross-entropy on the clean view, consistency among it and two augmented ones."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from p2be_exp.augment import Augmentation, AugMix, random_flip_crop
from p2be_exp.data import Batch
from p2be_exp.losses import jensen_shannon
from p2be_exp.randomness import ImageRandom, Purpose
from p2be_exp.regimes.regime import Regime, RegimeLoss


class AugMixRegime(Regime):
    """Three views that share one geometric augmentation, in one forward pass, so that batch norms see 3B images.

    Args:
        seed: see :class:`Regime`.
        alpha_jsd: weight of the Jensen-Shannon divergence.
        magnitude: strength of the operations.
        view_rounding: ``floor`` or ``nearest``, how a mixture becomes levels.
        augment: see :class:`Regime`.

    Source: Hendrycks et al. 2020 (AugMix); Kishida & Nakayama 2022, Eq. 10.
    """

    name = "augmix"

    def __init__(
        self,
        seed: int,
        alpha_jsd: float,
        magnitude: float,
        view_rounding: str,
        augment: Augmentation = random_flip_crop,
    ) -> None:
        super().__init__(seed, augment)
        self.alpha_jsd = alpha_jsd
        self.mix = AugMix(views=2, magnitude=magnitude, rounding=view_rounding)

    def loss(self, model: nn.Module, batch: Batch, epoch: int) -> RegimeLoss:
        """The terms ``ce`` (on the clean view) and ``jsd``."""
        clean = self.clean_view(batch, epoch)
        mixed = self.mix(clean, ImageRandom(self.seed, epoch, batch.indices, Purpose.AUGMIX))
        views = torch.cat([clean[None], mixed])
        logits = model(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        terms = {"ce": F.cross_entropy(logits[0], batch.labels), "jsd": jensen_shannon(logits)}
        return RegimeLoss(terms, {"jsd": self.alpha_jsd}, logits[0])
