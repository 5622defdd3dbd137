"""What an attack on an adaptive mixture climbs: the loss of its output, and that of its gate."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.models.precision import at_least_float32

LEAST_CLASSES = 4
"""For the targeted DLR, which reads the four largest logits."""


def gate_objective(
    output: Tensor, gamma: Tensor, labels: Tensor, weight: Tensor | float, targets: Tensor | None = None
) -> Tensor:
    """``(1 - weight) * base + weight * BCE(gamma, 1)`` of each image, to be raised.

    The second term is high where gamma is low: it turns the image over to the accurate part, which is the easier one
    to mislead.

    Args:
        output: of the mixture, ``(B, K)``, log-probabilities.
        gamma: ``(B,)``.
        labels: ``(B,)``, the true classes.
        weight: of the gate in [0, 1], a number or ``(B,)``.
        targets: int64 ``(B,)``: base is the targeted DLR towards this class, or the cross-entropy where it is negative.
            None: the cross-entropy for all images.

    Returns:
        ``(B,)``, in float32 or better.

    Raises:
        ValueError: see :func:`targeted_dlr`.

    Source: Bai et al., SIMODS 2024 (arXiv 2301.12554), ``adaptive_smoothing/attacks.py`` and ``losses.py`` of the code.
    """
    output, gamma = at_least_float32(output), at_least_float32(gamma)
    base = F.cross_entropy(output, labels, reduction="none")
    if targets is not None:
        base = torch.where(targets < 0, base, targeted_dlr(output, labels, targets.clamp(min=0)))
    return (1 - weight) * base + weight * F.softplus(-gamma)


def targeted_dlr(output: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """``-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2 + 1e-12)``, z_(k) being the k-th largest of an image's outputs.

    Args:
        output: ``(B, K)``.
        labels, targets: int64 ``(B,)``, y and t.

    Returns:
        ``(B,)``.

    Raises:
        ValueError: fewer than four classes.

    Source: Croce & Hein 2020, "Reliable evaluation of adversarial robustness", Eq. 7.
    """
    if output.shape[1] < LEAST_CLASSES:
        raise ValueError(f"the targeted DLR needs {LEAST_CLASSES} classes, not {output.shape[1]}")
    largest = output.topk(4, dim=1).values
    spread = largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2
    right, target = (output.gather(1, each[:, None]).squeeze(1) for each in (labels, targets))
    return (target - right) / (spread + 1e-12)
