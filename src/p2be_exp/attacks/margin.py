"""The margin by which a model is wrong, as a loss that an attack climbs."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Highest wrong logit minus the right one, ``(B,)``: above 0 where the model is wrong."""
    right = place_of_label(logits, labels)
    # Not logits[right]: how many a mask selects is known on the device alone, which the host would wait for.
    return logits.masked_fill(right, -math.inf).amax(1) - logits.gather(1, labels[:, None]).squeeze(1)


def place_of_label(logits: Tensor, labels: Tensor) -> Tensor:
    """Which of the logits ``(B, K)`` are those of the labels ``(B,)``: bool ``(B, K)``, one in each row.

    PyTorch's ``one_hot`` looks at the labels first, for which the host waits on some devices.
    """
    return labels[:, None] == torch.arange(logits.shape[1], device=labels.device)
