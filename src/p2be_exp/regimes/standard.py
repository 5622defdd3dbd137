"""The standard regime: cross-entropy on flipped and cropped images."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from p2be_exp.augment import random_flip_crop
from p2be_exp.data import Batch
from p2be_exp.randomness import ImageRandom, Purpose
from p2be_exp.regimes.regime import Regime, RegimeLoss


class Standard(Regime):
    """Cross-entropy on one flipped and cropped view."""

    name = "standard"

    def loss(self, model: nn.Module, batch: Batch, epoch: int) -> RegimeLoss:
        """The term ``ce``."""
        random = ImageRandom(self.seed, epoch, batch.indices, Purpose.FLIP_CROP)
        logits = model(random_flip_crop(batch.images, random))
        return RegimeLoss({"ce": F.cross_entropy(logits, batch.labels)}, {}, logits)
