"""AdvTrain: cross-entropy on adversarial images alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from p2be_exp.regimes.adversarial import RobustRegime, in_one_pass
from p2be_exp.regimes.regime import RegimeLoss

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier


class AdvTrain(RobustRegime):
    """Adversarial training (Madry et al. 2018) with any inner attack.

    The training error is that on the adversarial view, the only one in the forward pass.

    Source: Kishida & Nakayama 2022, section IV-C; ``onlyadv`` in the reference code.
    """

    name = "advtrain"

    def loss_of_views(self, model: Classifier, clean: Tensor, adversarial: Tensor, labels: Tensor) -> RegimeLoss:
        """The term ``ce``."""
        (logits,) = in_one_pass(model, self.features(model, adversarial))
        return RegimeLoss({"ce": F.cross_entropy(logits, labels)}, {}, logits)
