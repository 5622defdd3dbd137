"""Consistency of the predictions for several views: Jensen-Shannon divergence."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def jensen_shannon(logits: Tensor) -> Tensor:
    """Jensen-Shannon divergence among the predictions for V views of the same images, in float32 or better.

    Args:
        logits: ``(V, B, K)``.

    Returns:
        The mean over views and images of ``KL(p_v || p_mean)``, natural logarithm; the logarithm of the mean is taken
        after a clamp to [1e-7, 1]. Gradients flow through the predictions and their mean.

    Source: Hendrycks et al. 2020 (AugMix), as in the reference code.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    # In logarithms throughout: the gradient of p log p is nan where p has become 0, which float32 reaches.
    log_probabilities = logits.log_softmax(dim=-1)
    log_mixture = log_probabilities.exp().mean(dim=0).clamp(1e-7, 1).log()
    divergences = [F.kl_div(log_mixture, view, reduction="batchmean", log_target=True) for view in log_probabilities]
    return torch.stack(divergences).mean()
