"""MART: a boosted cross-entropy on the adversarial view, and a consistency that weighs misclassified images most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional as F

from p2be_exp.attacks.margin import place_of_label
from p2be_exp.models.precision import at_least_float32
from p2be_exp.regimes.adversarial import ConsistencyRegime, in_one_pass
from p2be_exp.regimes.regime import RegimeLoss

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier

_TINY = 1e-12


class Mart(ConsistencyRegime):
    """Misclassification-aware adversarial training.

    Both views are in one forward pass of 2B images; the reference makes two, so that batch norms see one view each.

    Source: Wang et al. 2020, "Improving Adversarial Robustness Requires Revisiting Misclassified Examples", Eq. 11.
    """

    name = "mart"

    def loss_of_views(self, model: Classifier, clean: Tensor, adversarial: Tensor, labels: Tensor) -> RegimeLoss:
        """The terms ``bce`` (on the adversarial view) and ``kl`` (between both, weighted by image)."""
        natural, attacked = in_one_pass(model, model.read(clean), self.features(model, adversarial))
        terms = {
            "bce": boosted_cross_entropy(attacked, labels),
            "kl": weighted_consistency(natural, attacked, labels),
        }
        return RegimeLoss(terms, {"kl": self.beta}, natural)


def boosted_cross_entropy(adversarial: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy plus ``-log(1 - p)`` of the most probable wrong class, mean over the images.

    Args:
        adversarial: logits ``(B, K)``; taken in float32 or better.
        labels: int64 ``(B,)``.

    Source: Wang et al. 2020, Eq. 9, with the constants of the reference code.
    """
    adversarial = at_least_float32(adversarial)
    right = place_of_label(adversarial, labels)
    best_wrong = adversarial.softmax(1).masked_fill(right, 0.0).amax(1)
    return F.cross_entropy(adversarial, labels) - (1.0001 - best_wrong + _TINY).log().mean()


def weighted_consistency(clean: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
    """``KL(p_clean || p_adversarial) * (1 - p_clean[label])``, mean over the images.

    Args:
        clean, adversarial: logits ``(B, K)``; taken in float32 or better, gradients flow through both.
        labels: int64 ``(B,)``.

    Source: Wang et al. 2020, Eq. 10, with the constants of the reference code.
    """
    log_clean = at_least_float32(clean).log_softmax(1)
    log_adversarial = (at_least_float32(adversarial).softmax(1) + _TINY).log()
    divergence = (log_clean.exp() * (log_clean - log_adversarial)).sum(1)
    p_right = log_clean.exp().gather(1, labels[:, None]).squeeze(1)
    return (divergence * (1.0000001 - p_right)).mean()
