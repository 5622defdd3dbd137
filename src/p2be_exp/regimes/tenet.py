"""The TENET regime: cross-entropy on two views, and a second step in which strong groups of channels are inhibited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.attacks.attack import attacked
from p2be_exp.augment import Augmentation
from p2be_exp.backbones.dropout import dropout_images
from p2be_exp.backbones.last_stage import from_last_stage, to_last_stage
from p2be_exp.backbones.stage_shapes import stage_shapes
from p2be_exp.data import Batch
from p2be_exp.errors import BadInput
from p2be_exp.models.precision import at_least_float32
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes.augmix import augmix_for
from p2be_exp.regimes.channel_groups import channel_groups, first_centres
from p2be_exp.regimes.inhibition import inhibition_mask, overlap
from p2be_exp.regimes.regime import Regime, RegimeLoss, When
from p2be_exp.system.collectives import sum_over_ranks

if TYPE_CHECKING:
    from p2be_exp.augment import AugMix
    from p2be_exp.config.schema import TrainConfig
    from p2be_exp.models.model import EncodedClassifier


class Tenet(Regime):
    """Two optimizer steps in some of the batches, the second one on maps with masks.

    The first step is cross-entropy on the clean view and an AugMix view of each image, in one forward pass, so that
    batch norms see 2B images. The second step is on those of them that the first one classified correctly: the input
    of the last stage is multiplied by a mask that turns down what speaks for the true class, and the network has to
    be right without it.

    Args:
        seed: see :class:`Regime`.
        groups: K, the number of groups of channels of an image.
        weight: of the cross-entropy on masked maps.
        orthogonality: weight of the overlap of the groups.
        from_step: the first optimizer step, counted from 1, that may be followed by a second one.
        every: a second step is taken in every so many batches, those whose number, counted from 1, it divides.
        augmented: whether there is an AugMix view; otherwise the clean view is the batch.
        magnitude, view_rounding: of the AugMix view, see :class:`~p2be_exp.regimes.augmix.AugMixRegime`.
        augment: see :class:`Regime`.

    Source: Liu et al., ICCV 2021; the order of the passes and the modes are those of the reference code.
    """

    name = "tenet"
    several_steps = True

    def __init__(
        self,
        seed: int,
        groups: int,
        weight: float,
        orthogonality: float,
        from_step: int,
        every: int,
        augmented: bool,
        magnitude: float,
        view_rounding: str,
        augment: Augmentation,
    ) -> None:
        super().__init__(seed, augment)
        self.groups, self.weight, self.orthogonality = groups, weight, orthogonality
        self.from_step, self.every = from_step, every
        self.augmented, self.magnitude, self.view_rounding = augmented, magnitude, view_rounding
        self._mix: AugMix | None = None

    def steps(self, model: EncodedClassifier, batch: Batch, when: When) -> Iterator[RegimeLoss]:
        """The term ``ce``; where a second step is due and an image was classified correctly, ``tenet``, ``overlap``."""
        views = self._views(model, batch, when.epoch)
        images, labels = views.flatten(0, 1), batch.labels.repeat(len(views))
        logits = model(images)
        correct = (logits.argmax(dim=1) == labels).view(len(views), -1)
        correct[:, batch.count :] = False  # an image that only fills up is another rank's
        more = self._is_due(when.step) and sum_over_ranks(correct.sum()).item() > 0
        ce = F.cross_entropy(logits, labels)
        yield RegimeLoss({"ce": ce}, {}, logits[: len(batch.labels)], more=more)

        # From here on the weights are new.
        chosen = correct.flatten().nonzero().flatten()
        shown = chosen if len(chosen) else chosen.new_zeros(1)  # the rank takes part with its first image, of weight 0
        indices = batch.indices.repeat(len(views))[shown]
        random = ImageRandom(self.seed, when.epoch, indices, Purpose.TENET_GROUPS)
        groups, mask = self.inhibition(model, images[shown], labels[shown], random)
        with dropout_images(model, indices), _statistics(model, learn=len(chosen) > 0):
            features = to_last_stage(model.trunk, *model.read(images[shown]))
            again = from_last_stage(model.trunk, features * mask)
        terms = {"tenet": F.cross_entropy(again, labels[shown]), "overlap": overlap(features, groups, self.groups)}
        weights = {"tenet": self.weight, "overlap": self.orthogonality}
        yield RegimeLoss(terms, weights, again, count=len(chosen))

    def inhibition(
        self, model: EncodedClassifier, images: Tensor, labels: Tensor, random: ImageRandom
    ) -> tuple[Tensor, Tensor]:
        """Groups of channels and the mask at the input of the last stage, in eval mode, without a gradient.

        Args:
            model: whose backbone has stages.
            images: uint8 ``(n, 3, H, W)``.
            labels: ``(n,)``, the true classes.
            random: of these images, for the first centres. Views of the same image start from the same channels.

        Returns:
            int64 ``(n, C)``, and ``(n, C, H', W')`` of values in (0, 1].
        """
        with attacked(model):
            features = to_last_stage(model.trunk, *model.read(images)).detach().requires_grad_()
            logits = from_last_stage(model.trunk, features)
            # In bfloat16 the sigmoid of a large logit is 1, without a gradient.
            certainty = torch.sigmoid(at_least_float32(logits).gather(1, labels[:, None])).sum()
            (gradient,) = torch.autograd.grad(certainty, features)
        groups = channel_groups(features, first_centres(random, features.shape[1], self.groups))
        return groups, inhibition_mask(features, gradient, groups, self.groups)

    def _views(self, model: EncodedClassifier, batch: Batch, epoch: int | Tensor) -> Tensor:
        """The clean view, and the AugMix view if there is one: uint8 ``(V, B, 3, H, W)``."""
        clean = self.clean_view(batch, epoch)
        if not self.augmented:
            return clean[None]
        if self._mix is None:
            self._mix = augmix_for(model.encodings, 1, self.magnitude, self.view_rounding)
        return torch.cat([clean[None], self._mix(clean, ImageRandom(self.seed, epoch, batch.indices, Purpose.AUGMIX))])

    def _is_due(self, step: int) -> bool:
        """Whether a second step follows the first one of a batch, the number of batches before it being ``step``."""
        number = step + 1
        return number >= self.from_step and number % self.every == 0


def check_groups(config: TrainConfig, size: int) -> None:
    """Check that the map of ``regime=tenet`` has enough channels; other regimes pass.

    Args:
        config: checked otherwise; its backbone is built to see, and thrown away.
        size: height and width of the images in pixels.

    Raises:
        BadInput: there are fewer channels than groups.
    """
    from p2be_exp.config.schema import TenetConfig
    from p2be_exp.models.classifier import build_trunk

    if not isinstance(config.regime, TenetConfig):
        return
    with torch.random.fork_rng(devices=[]):
        channels = stage_shapes(build_trunk(config.backbone, num_classes=2), size)[-2].channels
    if config.regime.groups > channels:
        raise BadInput(
            f"regime.groups={config.regime.groups}: must be between 2 and {channels}, "
            f"the number of channels before the last stage of {config.backbone.name}"
        )


@contextmanager
def _statistics(model: nn.Module, learn: bool) -> Iterator[None]:
    """Without ``learn``, eval mode, so that running statistics stay; everything is as before afterwards.

    Synchronised batch norms stay in train mode: the other ranks wait for this one.
    """
    modes = [(module, module.training) for module in model.modules()]
    together = any(isinstance(module, nn.SyncBatchNorm) for module, _ in modes)
    try:
        model.train(model.training and (learn or together))
        yield
    finally:
        for module, mode in modes:
            module.training = mode
