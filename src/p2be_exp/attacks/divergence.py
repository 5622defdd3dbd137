"""Kullback-Leibler divergence of the predictions for two views of the same images."""

from __future__ import annotations

from torch import Tensor

from p2be_exp.models.precision import at_least_float32


def kl_divergence(p: Tensor, q: Tensor) -> Tensor:
    """``KL(p || q)`` of each image, natural logarithm, ``(B,)``, in float32 or better.

    Args:
        p, q: logits ``(B, K)``; gradients flow through both.
    """
    log_p, log_q = (at_least_float32(each).log_softmax(1) for each in (p, q))
    return (log_p.exp() * (log_p - log_q)).sum(1)
