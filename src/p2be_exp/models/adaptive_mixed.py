"""Adaptive Smoothing as a model: two classifiers, mixed by a weight that a gate gives to each image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.models.classifier import Classifier
from p2be_exp.models.gate import WIDTHS, Gate
from p2be_exp.models.mixed import MixtureClassifier
from p2be_exp.models.precision import at_least_float32
from p2be_exp.models.stage_maps import logits_and_maps, map_channels


class AdaptiveMixedClassifier(MixtureClassifier):
    """The output is ``log((1 - alpha) softmax(accurate_scale g) + alpha softmax(robust_scale h))``, alpha by image.

    The gate alone learns. An attack by gradient goes through it and through both parts.

    Args:
        accurate, robust: the parts, each one network with stages.
        alpha_low, alpha_high, gate_std, gate_mean, widths: see :class:`~p2be_exp.models.gate.Gate`.
        accurate_scale, robust_scale: factors of the logits, above 0.

    Attributes:
        gate: gives gamma and alpha.

    Source: Bai et al. 2024, "Improving the Accuracy-Robustness Trade-Off of Classifiers via Adaptive Smoothing".
    """

    def __init__(
        self,
        accurate: Classifier,
        robust: Classifier,
        alpha_low: float,
        alpha_high: float,
        gate_std: float,
        gate_mean: float,
        widths: Sequence[int] = WIDTHS,
        accurate_scale: float = 1.0,
        robust_scale: float = 1.0,
    ) -> None:
        super().__init__(accurate, robust)
        channels = [map_channels(robust), map_channels(accurate)]
        self.gate = Gate(channels, alpha_low, alpha_high, gate_std, gate_mean, widths)
        self.accurate_scale, self.robust_scale = accurate_scale, robust_scale

    def body(self, *features: Tensor) -> Tensor:
        """What the parts' readers read to log-probabilities ``(B, classes)``."""
        return self.gated(*features)[0]

    def gated(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probabilities, and gamma ``(B,)``: high where the gate takes an image for an adversarial one."""
        robust, *maps_of_robust = logits_and_maps(self.robust, *features[: self._of_robust])
        accurate, *maps_of_accurate = logits_and_maps(self.accurate, *features[self._of_robust :])
        first, second = zip(maps_of_robust, maps_of_accurate, strict=True)
        gamma, _ = self.gate(first, second)
        log_accurate, log_robust = (weight.unsqueeze(1) for weight in self.gate.log_weights(gamma))
        of_accurate = F.log_softmax(self.accurate_scale * at_least_float32(accurate), dim=1)
        of_robust = F.log_softmax(self.robust_scale * at_least_float32(robust), dim=1)
        return torch.logaddexp(log_accurate + of_accurate, log_robust + of_robust), gamma
