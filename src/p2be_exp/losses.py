"""The loss terms: smoothness of a table, Jensen-Shannon consistency of predictions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def neighbour_cosines(table: Tensor) -> Tensor:
    """Cosine between each row and the next, ``(255,)`` for a ``(256, M)`` table, 1e-8 added to the product of norms."""
    left, right = table[:-1], table[1:]
    norms = left.norm(dim=1) * right.norm(dim=1)
    return (left * right).sum(dim=1) / (norms + 1e-8)


def smoothness_mean(table: Tensor) -> Tensor:
    """Minus the mean cosine of neighbouring rows: the reference code's loss. Its gradient is the paper's over 255.

    The published values of lambda belong to this form.
    """
    return -neighbour_cosines(table).mean()


def smoothness_sum(table: Tensor) -> Tensor:
    """Sum over the 255 neighbouring pairs of one minus their cosine: Kishida & Nakayama 2022, Eq. 9."""
    return (1 - neighbour_cosines(table)).sum()


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
