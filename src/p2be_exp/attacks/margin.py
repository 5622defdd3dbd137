"""The margin by which a model is wrong, as a loss that an attack climbs."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Highest wrong logit minus the right one, ``(B,)``: above 0 where the model is wrong."""
    right = F.one_hot(labels, logits.shape[1]).bool()
    return logits.masked_fill(right, -math.inf).amax(1) - logits[right]
