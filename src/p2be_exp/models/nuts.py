"""MixedNUTS: a mixture whose robust logits are transformed, so that the robust part is sure where it is right.

Source: Bai, Zhou, Patel, Sojoudi, "MixedNUTS: Training-Free Accuracy-Robustness Balance via Nonlinearly Mixed
Classifiers", TMLR 2024, arXiv 2402.02263. Read off the authors' code (github.com/Bai-YT/MixedNUTS): the layer
normalisation of both parts is :func:`standardised`, without learned factors; GELU is the exact one, not tanh's; the
accurate part is one-hot where no gradient is asked for, and :func:`sharpened` elsewhere; the surrogate reads the raw
logits of both parts, and its weight is calibrated apart, on the robust part's raw logits.

The code takes logits to float64; here they stay in float32, and sums of probabilities are made of their logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.models.precision import at_least_float32

LARGEST = 250
"""How many of an image's logits the standardisation looks at, where there are more."""

ACCURATE_SCALE = 1e6
"""The published factor of the accurate part's standardised logits."""

_RAW_SHARE = 0.9  # of the robust part in the surrogate; the rest is transformed


def standardised(logits: Tensor, classes: int = LARGEST) -> Tensor:
    """Each image's logits with mean 0 and variance 1 (unbiased, plus 1e-8) over its classes; equal logits become 0.

    Args:
        logits: ``(B, K)``, K at least 2.
        classes: mean and variance are those of so many largest logits of an image where K is more; all are shifted.

    Returns:
        The same shape, in float32 or better.
    """
    logits = at_least_float32(logits)
    seen = logits if classes >= logits.shape[1] else logits.topk(classes, dim=1).values
    variance, mean = torch.var_mean(seen, dim=1, keepdim=True)
    return (logits - mean) / (variance + 1e-8).sqrt()


def signed_power(z: Tensor, c: float, p: float) -> Tensor:
    """``sign(u) |u|^p`` with ``u = GELU(z + c)``, element by element; p is at least 1."""
    u = F.gelu(z + c)
    return u.sign() * u.abs() ** p


@dataclass(frozen=True)
class RobustTransform:
    """What is done to the robust part's logits: ``s sign(u) |u|^p``, ``u = GELU(z + c)``, z the standardised logits.

    A low c takes away what is said of unlikely classes, p above 1 widens large margins more than small ones. GELU is
    not monotone below 0: where an image's largest z is below -c, a class with a much smaller one may end up as the
    largest.

    Attributes:
        s: factor, above 0.
        c: shift, 0 or less as a rule.
        p: power, 1 or more.
        classes: see :func:`standardised`.
    """

    s: float
    c: float
    p: float
    classes: int = LARGEST

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits ``(B, K)`` to the same shape, in float32 or better."""
        return self.s * signed_power(standardised(logits, self.classes), self.c, self.p)


def sharpened(logits: Tensor, scale: float = ACCURATE_SCALE, classes: int = LARGEST) -> Tensor:
    """Standardised logits of the accurate part times a large scale: their softmax is all but one-hot.

    Args:
        logits: ``(B, K)``.
        scale: above 0.
        classes: see :func:`standardised`.
    """
    return scale * standardised(logits, classes)


def log_mixture(parts: Iterable[tuple[float, Tensor]]) -> Tensor:
    """``log(sum of weight * softmax(logits))`` without leaving the logarithms, so that it is finite with its gradient.

    Args:
        parts: weights, 0 or more with the sum 1, and logits ``(B, K)``; a part of weight 0 is left out.

    Returns:
        Log-probabilities ``(B, K)``, in float32 or better.
    """
    terms = [math.log(weight) + at_least_float32(logits).log_softmax(1) for weight, logits in parts if weight]
    return torch.stack(terms).logsumexp(0)


def nuts_answers(
    accurate: Tensor,
    robust: Tensor,
    transform: RobustTransform,
    alpha: float,
    surrogate_alpha: float,
    scale: float = ACCURATE_SCALE,
) -> tuple[Tensor, Tensor]:
    """The mixture's output, and the surrogate that a gradient attack climbs; success is judged on the output.

    With g and h the logits, g~ and h~ the sharpened and the transformed ones, a and b the weights, these are
    ``log((1 - a) softmax(g~) + a softmax(h~))`` and ``log((1 - b) softmax(g) + 0.9 b softmax(h) + 0.1 b softmax(h~))``.
    The output has no gradient to speak of: g~ is saturated, and a power of h~ is flat over wide ranges. Autocast does
    not apply.

    Args:
        accurate, robust: logits ``(B, K)`` of the two parts.
        transform: of the robust logits.
        alpha: a in [0, 1].
        surrogate_alpha: b in [0, 1]. Published: 0.957 for CIFAR-10 (a is 0.99875), 0.971 for CIFAR-100.
        scale: of g~.

    Returns:
        Log-probabilities, twice ``(B, K)``, in float32 or better.

    Source: ``models/nonlin_mixed_classifier.py`` of the code; the surrogate is what ``disable_nonlin_for_grad`` gives,
    with which the published numbers were measured.
    """
    b, raw = surrogate_alpha, _RAW_SHARE
    with torch.autocast(robust.device.type, enabled=False):
        transformed = transform(robust)
        output = log_mixture([(1 - alpha, sharpened(accurate, scale, transform.classes)), (alpha, transformed)])
        return output, log_mixture([(1 - b, accurate), (raw * b, robust), ((1 - raw) * b, transformed)])
