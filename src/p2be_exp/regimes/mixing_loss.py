"""What a gate is trained on: the classes by the mixed output, and which images are adversarial by gamma."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.models.precision import at_least_float32


def mixing_terms(
    output: Tensor, gamma: Tensor, labels: Tensor, adversarial: Tensor, clean_scale: float = 2.0
) -> dict[str, Tensor]:
    """Three loss terms, means over the clean and the adversarial images of a batch.

    With B the binary cross-entropy of gamma against "is adversarial" and C the cross-entropy of the output, ``bce`` is
    the mean of ``scale * B``, ``ce`` of ``scale * C``, ``product`` of ``scale * B * C``; scale is ``clean_scale`` for
    clean images and 1 for others. The loss is their weighted sum; the published weights are 1, 0.5 and 0.1 for
    ResNet-18.

    Args:
        output: of the mixture, ``(B, K)``, log-probabilities.
        gamma: ``(B,)``.
        labels: ``(B,)``, the classes.
        adversarial: ``(B,)``, bool: a high gamma, which gives the robust part its weight, is right where it is True.
        clean_scale: see above. Published: 2 for ResNet-18, 1 for the large networks.

    Returns:
        Scalars, in float32 or better.

    Source: Bai et al., SIMODS 2024 (arXiv 2301.12554), ``adaptive_smoothing/losses.py`` and ``trainer.py`` of the code,
    where the mean is weighted by the share of a batch that a mini-batch is; here the batch is whole.
    """
    gate = at_least_float32(gamma)
    bce = F.binary_cross_entropy_with_logits(gate, adversarial.to(gate.dtype), reduction="none")
    ce = F.cross_entropy(at_least_float32(output), labels, reduction="none")
    scale = torch.where(adversarial, torch.ones_like(bce), clean_scale)
    return {"bce": (scale * bce).mean(), "ce": (scale * ce).mean(), "product": (scale * bce * ce).mean()}
