"""The margin by which a model is wrong, as a loss that an attack climbs."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Highest wrong logit minus the right one, ``(B,)``: above 0 where the model is wrong."""
    places = labels.unsqueeze(1)
    right = places == torch.arange(logits.shape[1], device=logits.device)
    # Not logits[right], for whose number a GPU would be waited for.
    return logits.masked_fill(right, -math.inf).amax(1) - logits.gather(1, places).squeeze(1)
