"""TRADES: cross-entropy on the clean view, Kullback-Leibler divergence between it and an adversarial one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from p2be_exp.attacks.divergence import kl_divergence
from p2be_exp.regimes.adversarial import ConsistencyRegime, in_one_pass
from p2be_exp.regimes.regime import RegimeLoss

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier


class Trades(ConsistencyRegime):
    """Both views in one forward pass of 2B images; the reference makes two, so that batch norms see one view each.

    The published inner attack takes 10 sign steps that raise the divergence, from a point beside the image:
    ``conf/regime/trades.yaml``.

    Source: Zhang et al. 2019, "Theoretically Principled Trade-off between Robustness and Accuracy", Eq. 5.
    """

    name = "trades"

    def loss_of_views(self, model: Classifier, clean: Tensor, adversarial: Tensor, labels: Tensor) -> RegimeLoss:
        """The terms ``ce`` (on the clean view) and ``kl``."""
        logits = in_one_pass(model, model.read(clean), self.features(model, adversarial))
        terms = {"ce": F.cross_entropy(logits[0], labels), "kl": kl_divergence(*logits).mean()}
        return RegimeLoss(terms, {"kl": self.beta}, logits[0])
