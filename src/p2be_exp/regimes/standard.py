"""The standard regime: cross-entropy on the images after the geometric augmentation."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from p2be_exp.data import Batch
from p2be_exp.regimes.regime import Epoch, Regime, RegimeLoss


class Standard(Regime):
    """Cross-entropy on one view, flipped and cropped as the data set has it."""

    name = "standard"

    @property
    def capturable(self) -> bool:
        """See :class:`Regime`."""
        return True

    def loss(self, model: nn.Module, batch: Batch, epoch: Epoch) -> RegimeLoss:
        """The term ``ce``."""
        logits = model(self.clean_view(batch, epoch))
        return RegimeLoss({"ce": F.cross_entropy(logits, batch.labels)}, {}, logits)
