"""NoisyMix: AugMix and its consistency on features that are mixed among images and noisy, at one place of a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.augment import Augmentation
from p2be_exp.data import Batch
from p2be_exp.regimes.augmix import AugMixRegime
from p2be_exp.regimes.consistency import jensen_shannon
from p2be_exp.regimes.feature_mixing import (
    VIEWS,
    ElementRandom,
    FeatureNoise,
    MixedBatch,
    draw_batch,
    draw_partners,
)
from p2be_exp.regimes.regime import Regime, RegimeLoss, When

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier
    from p2be_exp.models.model import EncodedClassifier

ChangeFeatures = Callable[[Tensor, int], Tensor]
"""From the features ``(3 * B, ...)`` of a reader, and its number, to what goes on in their place."""


class NoisyMix(Regime):
    """Cross-entropy with mixed labels on the clean view, Jensen-Shannon divergence among it and two AugMix views.

    In every batch one place is drawn: what the readers give, or the output of one of the first stages. There the
    features of each image become ``lambda * own + (1 - lambda) * partner's``, with the same partner in each view, and
    get the noise of :class:`~p2be_exp.regimes.feature_mixing.FeatureNoise`. With several processes the partner comes
    from the same process's share of the batch; place, lambda and strengths of the noise are equal in all of them.

    Args:
        seed: see :class:`Regime`.
        alpha: of Beta(alpha, alpha), which lambda is drawn from; 0 for no mixing.
        stages: how many of the first stages have an output that may be drawn, beside the readers' features; all where
            the network has fewer. 0 for the readers' features alone: then any model serves, otherwise ``model=plain``
            with a staged backbone.
        multiplicative, additive, noise_off: of :class:`~p2be_exp.regimes.feature_mixing.FeatureNoise`.
        alpha_jsd, magnitude, view_rounding: of :class:`~p2be_exp.regimes.augmix.AugMixRegime`; the views are its own.
        augment: see :class:`Regime`.

    Source: Erichson et al. 2024, "NoisyMix: Boosting Model Robustness to Common Corruptions"; noise and settings as in
        the reference code.
    """

    name = "noisymix"

    def __init__(
        self,
        seed: int,
        alpha: float,
        stages: int,
        multiplicative: float,
        additive: float,
        noise_off: float,
        alpha_jsd: float,
        magnitude: float,
        view_rounding: str,
        augment: Augmentation,
    ) -> None:
        super().__init__(seed, augment)
        self.alpha, self.stages, self.alpha_jsd = alpha, stages, alpha_jsd
        self.noise = FeatureNoise(multiplicative, additive, noise_off)
        self._augmix = AugMixRegime(seed, alpha_jsd, magnitude, view_rounding, augment)

    def steps(self, model: Classifier, batch: Batch, when: When) -> Iterator[RegimeLoss]:
        """One step; the terms ``ce`` (on the clean view, with mixed labels) and ``jsd``."""
        views = self._augmix.views(model, batch, when.epoch)
        drawn = draw_batch(self.seed, when, self._layers(model), self.alpha)
        partners = draw_partners(self.seed, when.epoch, batch.indices)
        random = ElementRandom(self.seed, when.epoch, batch.indices)

        def change(features: Tensor, reader: int) -> Tensor:
            return self.noise(mixed(features, partners, drawn.own_share), drawn, random, reader)

        logits = logits_of(model, views.flatten(0, 1), drawn.layer, change).unflatten(0, views.shape[:2])
        yield self.loss_of_logits(logits, batch.labels, partners, drawn)

    def loss_of_logits(self, logits: Tensor, labels: Tensor, partners: Tensor, drawn: MixedBatch) -> RegimeLoss:
        """The terms of a batch whose logits ``(3, B, K)`` are there, that of the clean view first."""
        own = F.cross_entropy(logits[0], labels)
        partner = F.cross_entropy(logits[0], labels[partners])
        ce = drawn.own_share * own + (1 - drawn.own_share) * partner
        return RegimeLoss({"ce": ce, "jsd": jensen_shannon(logits)}, {"jsd": self.alpha_jsd}, logits[0])

    def _layers(self, model: Classifier) -> int:
        """Number of places of which one is drawn."""
        if not self.stages:
            return 1
        return 1 + min(self.stages, len(cast("EncodedClassifier", model).trunk.stage_modules()))


def mixed(features: Tensor, partners: Tensor, own_share: float) -> Tensor:
    """Features of each image mixed with its partner's, view by view.

    Args:
        features: ``(3 * B, ...)``, all images of a view before those of the next.
        partners: int64 ``(B,)``, the places of the partners.
        own_share: lambda, the share of the image itself.
    """
    if own_share == 1:
        return features
    places = torch.cat([partners + view * len(partners) for view in range(VIEWS)])
    return own_share * features + (1 - own_share) * features[places]


def logits_of(model: Classifier, images: Tensor, layer: int, change: ChangeFeatures) -> Tensor:
    """Logits of a model whose features are changed at one place, in one forward pass.

    Args:
        model: any for layer 0, otherwise a plain one with a staged backbone.
        images: uint8 ``(N, 3, H, W)``.
        layer: 0 for what the readers give, k for the output of stage k.
        change: called once per reader for layer 0, else once.
    """
    features = model.read(images)
    if layer == 0:
        return model.body(*(change(of_reader, number) for number, of_reader in enumerate(features)))
    trunk = cast("EncodedClassifier", model).trunk
    (of_stem,) = features
    inside = trunk.begin(of_stem)
    for number, stage in enumerate(trunk.stage_modules(), start=1):
        inside = stage(inside)
        if number == layer:
            inside = change(inside, 0)
    return trunk.end(inside)
