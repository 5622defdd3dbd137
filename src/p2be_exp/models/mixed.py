"""A mixture of two finished classifiers: one that is accurate, one that is robust."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.config.parts import part_config
from p2be_exp.config.schema import TrainConfig
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.precision import at_least_float32
from p2be_exp.models.readers import Reader


class MixtureClassifier(Classifier):
    """What mixtures have in common: two frozen parts, which read for themselves.

    Args:
        accurate: a classifier; never trained, always in eval mode.
        robust: another one for the same classes, likewise.

    Attributes:
        accurate, robust: the parts.
    """

    def __init__(self, accurate: Classifier, robust: Classifier) -> None:
        super().__init__()
        self.robust, self.accurate = robust, accurate
        self._of_robust = len(robust.readers)
        for part in (robust, accurate):
            part.requires_grad_(False).eval()

    @classmethod
    def from_config(cls, config: TrainConfig, num_classes: int) -> Self:
        """The mixture of a configuration whose parts are filled in; their weights are not the runs' yet."""
        from p2be_exp.models.model import build_model

        parts = {role: build_model(part_config(config, role), num_classes) for role in config.model.roles}
        return cls(**parts, **cls.settings_of(config))

    @classmethod
    def settings_of(cls, config: TrainConfig) -> dict[str, Any]:
        """Arguments beside the parts, from the group ``model``."""
        keys = {key: value for key, value in vars(config.model).items() if key not in ("name", "parts")}
        return {key: value for key, value in keys.items() if key not in config.model.roles}

    @property
    def readers(self) -> tuple[Reader, ...]:
        """The robust part's, then the accurate part's."""
        return (*self.robust.readers, *self.accurate.readers)

    def logits_of_parts(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of the accurate and of the robust part, float32 or more, ``(B, classes)`` each."""
        robust = self.robust.body(*features[: self._of_robust])
        accurate = self.accurate.body(*features[self._of_robust :])
        return at_least_float32(accurate), at_least_float32(robust)

    def smoothness(self) -> None:
        """None: no table learns."""

    def train(self, mode: bool = True) -> Self:
        """The mode of what is not a part; those stay in eval mode."""
        super().train(mode)
        self.robust.eval()
        self.accurate.eval()
        return self


class MixedClassifier(MixtureClassifier):
    """Two classifiers' probabilities, mixed by a fixed weight.

    The output is ``log((1 - alpha) softmax(accurate_scale g) + alpha softmax(robust_scale h))``, ``g`` and ``h`` being
    the logits of the parts: log-probabilities, which serve as logits.

    Args:
        accurate, robust: the parts.
        alpha: weight of the robust part, 0 to 1; 0 and 1 leave one part alone.
        accurate_scale, robust_scale: factors of the logits, above 0.

    Source: Bai et al. 2024, "Improving the Accuracy-Robustness Trade-Off of Classifiers via Adaptive Smoothing", with a
    constant in the place of the mixing network.
    """

    def __init__(
        self,
        accurate: Classifier,
        robust: Classifier,
        alpha: float,
        accurate_scale: float = 1.0,
        robust_scale: float = 1.0,
    ) -> None:
        super().__init__(accurate, robust)
        self.alpha, self.accurate_scale, self.robust_scale = alpha, accurate_scale, robust_scale

    def body(self, *features: Tensor) -> Tensor:
        """What the parts' readers read to log-probabilities ``(B, classes)``."""
        return self._mixed(*self.logits_of_parts(*features))

    def answers(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Classifier`: what is climbed is the mixture of what the parts have for that."""
        robust, of_robust = self.robust.answers(*features[: self._of_robust])
        accurate, of_accurate = self.accurate.answers(*features[self._of_robust :])
        output = self._mixed(at_least_float32(accurate), at_least_float32(robust))
        if robust is of_robust and accurate is of_accurate:
            return output, output
        return output, self._mixed(at_least_float32(of_accurate), at_least_float32(of_robust))

    def twin_body(self, *features: Tensor) -> Tensor:
        """See :class:`Classifier`: the mixture of what the twins of the parts have."""
        robust = self.robust.twin_body(*features[: self._of_robust])
        accurate = self.accurate.twin_body(*features[self._of_robust :])
        return self._mixed(at_least_float32(accurate), at_least_float32(robust))

    def _mixed(self, accurate: Tensor, robust: Tensor) -> Tensor:
        alpha = torch.as_tensor(self.alpha, dtype=robust.dtype, device=robust.device)
        return mixed_log_probabilities(self.accurate_scale * accurate, self.robust_scale * robust, alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, accurate_scale={self.accurate_scale}, robust_scale={self.robust_scale}"


def mixed_log_probabilities(accurate: Tensor, robust: Tensor, alpha: Tensor) -> Tensor:
    """``log((1 - alpha) softmax(accurate) + alpha softmax(robust))`` with finite gradients whatever the logits are.

    Written as the formula says it would underflow: in float32 to a loss of infinity from a gap of about 104 between
    the logits of both parts, where an attack on confident networks soon arrives.

    Args:
        accurate, robust: logits ``(B, classes)``.
        alpha: weight of ``robust``, 0 to 1: of no dimension, or ``(B, 1)``.

    Returns:
        ``(B, classes)``; at an alpha of 0 or 1 one part's log-probabilities.
    """
    of_accurate = torch.log1p(-alpha) + F.log_softmax(accurate, dim=1)
    of_robust = torch.log(alpha) + F.log_softmax(robust, dim=1)
    return torch.logaddexp(of_accurate, of_robust)
