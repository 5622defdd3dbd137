"""No training: for a model that is made of finished ones."""

from __future__ import annotations

from torch import nn

from p2be_exp.data import Batch
from p2be_exp.regimes.regime import Epoch, Regime, RegimeLoss


class Nothing(Regime):
    """Has no loss; a job with it keeps the model as it was made, and evaluates it."""

    name = "none"

    def loss(self, model: nn.Module, batch: Batch, epoch: Epoch) -> RegimeLoss:
        """Nobody asks for it.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("regime=none trains nothing")
