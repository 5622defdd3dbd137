"""The training of a Feature Pyramid Decoder: restore; restore and classify; both again on what was restored."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.augment import Augmentation
from p2be_exp.augment.level_noise import level_noise
from p2be_exp.data import Batch
from p2be_exp.errors import Diverged
from p2be_exp.regimes.regime import Regime, RegimeLoss, When
from p2be_exp.regimes.unreached import nothing_of, unreached
from p2be_exp.system.collectives import sum_over_ranks, world_size

if TYPE_CHECKING:
    from p2be_exp.models.pyramid import PyramidClassifier


class Phase(NamedTuple):
    """Which phase a batch was in.

    Attributes:
        error: mean squared error of restoration before its first step, over the images of all ranks.
        joint: whether it was small enough for the classification, and a second step.
    """

    error: float
    joint: bool


class FPD(Regime):
    """One optimizer step in a batch that is badly restored, two in the others.

    The network reads noisy images. Where the mean squared error between what it restores and the codes of the clean
    images is above the threshold, the step is on that error alone (phase 1; the linear layer has no gradient, and does
    not move). Else it is on the cross-entropy as well, and a second step follows: the network reads what it restored,
    which is detached, and classifies and restores that (phase 2).

    The targets are the codes of the clean images without a gradient: a learned table could make every restoration
    perfect by having one code alone.

    Args:
        seed: see :class:`Regime`.
        noise: each value moves by up to this many levels, uniformly.
        threshold: of the mean squared error of codes, over the images of all processes.
        second_weight: of the restoration in the second step; that of its cross-entropy is 1.
        augment: see :class:`Regime`.

    Attributes:
        phase: of the present batch; None before the first.

    Source: Li et al. 2020 (arXiv 2005.02552), the authors' code; its phase 2 does not run in current PyTorch, since it
    goes back through weights that the step before has changed. The training figure has the restored image as an input.
    """

    name = "fpd"
    several_steps = True

    def __init__(self, seed: int, noise: int, threshold: float, second_weight: float, augment: Augmentation) -> None:
        super().__init__(seed, augment)
        self.noise, self.threshold, self.second_weight = noise, threshold, second_weight
        self.phase: Phase | None = None
        self._without_gradient: list[nn.Parameter] = []

    def steps(self, model: PyramidClassifier, batch: Batch, when: When) -> Iterator[RegimeLoss]:
        """The terms ``restoration``, ``joint`` (1 where there is a second step, of weight 0) and, in these batches,
        ``ce``, then ``second_ce`` and ``second_restoration``. The training error is that on noisy images.

        Raises:
            Diverged: on all ranks: the error of restoration or the cross-entropy is no number.
        """
        clean = self.clean_view(batch, when.epoch)
        (target,) = model.read(clean, learn=False)
        found = model.passes(*model.read(level_noise(clean, self.noise, batch.indices, self.seed, when.epoch)))
        ce, restoration = F.cross_entropy(found.scores, batch.labels), _error(found.restored, target)
        joint = self._is_restored(restoration, ce, batch, when)
        terms = {"restoration": restoration, "joint": torch.full_like(ce.detach(), float(joint))}
        if joint:
            terms["ce"] = ce
        yield self._on_all_ranks(model, RegimeLoss(terms, {"joint": 0.0}, found.scores, more=joint))

        # From here on the weights are new.
        assert found.restored is not None  # or there would have been no error of it
        again = model.passes(found.restored.detach())
        terms = {
            "second_ce": F.cross_entropy(again.scores, batch.labels),
            "second_restoration": _error(again.restored, target),
        }
        weights = {"second_restoration": self.second_weight}
        yield self._on_all_ranks(model, RegimeLoss(terms, weights, again.scores))

    def after_backward(self) -> None:
        """Forget the gradients of 0, so that what has none moves no more than in a single process."""
        for parameter in self._without_gradient:
            parameter.grad = None
        self._without_gradient = []

    def _is_restored(self, restoration: Tensor, ce: Tensor, batch: Batch, when: When) -> bool:
        """Whether the error of restoration is at most the threshold, over the images of all ranks."""
        share = torch.stack([restoration, ce, torch.ones_like(ce)]).detach().double() * batch.count
        error, loss, images = sum_over_ranks(share).tolist()
        error, loss = error / max(images, 1.0), loss / max(images, 1.0)  # without an image that can be read: 0
        if not math.isfinite(error + loss):
            what = "the restored images are" if not math.isfinite(error) else "the cross-entropy is"
            raise Diverged(
                f"{what} not finite in epoch {int(when.epoch) + 1}: denoising multiplies with the square of the "
                "activations; lower optim.lr or set optim.clip_norm"
            )
        self.phase = Phase(error, error <= self.threshold)
        return self.phase.joint

    def _on_all_ranks(self, model: nn.Module, loss: RegimeLoss) -> RegimeLoss:
        """The loss as several processes need it: with a gradient for every parameter that learns."""
        if world_size() == 1:
            return loss
        learning = [each for each in model.parameters() if each.requires_grad]
        self._without_gradient = unreached(loss.total(), learning)
        name = next(iter(loss.terms))
        return replace(loss, terms={**loss.terms, name: loss.terms[name] + nothing_of(self._without_gradient)})


def _error(restored: Tensor | None, target: Tensor) -> Tensor:
    """Mean squared error of restored codes ``(B, 3M, H, W)``."""
    assert restored is not None  # the configuration has been checked
    return F.mse_loss(restored, target)
