"""The AugMix regime: cross-entropy on the clean view, consistency among it and two augmented ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.augment import Augmentation, AugMix
from p2be_exp.data import Batch
from p2be_exp.encodings import TableEncoding
from p2be_exp.encodings.buckets import bucket_of_level
from p2be_exp.errors import BadInput
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes.consistency import jensen_shannon
from p2be_exp.regimes.regime import Epoch, Regime, RegimeLoss

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier


class AugMixRegime(Regime):
    """Three views that share one geometric augmentation, in one forward pass, so that batch norms see 3B images.

    Args:
        seed: see :class:`Regime`.
        alpha_jsd: weight of the Jensen-Shannon divergence.
        magnitude: strength of the operations.
        view_rounding: how a mixture becomes levels: ``floor``, ``nearest`` or ``reference``, see
            :func:`reference_rounding`.
        augment: see :class:`Regime`.

    Source: Hendrycks et al. 2020 (AugMix); Kishida & Nakayama 2022, Eq. 10.
    """

    name = "augmix"

    def __init__(
        self,
        seed: int,
        alpha_jsd: float,
        magnitude: float,
        view_rounding: str,
        augment: Augmentation,
    ) -> None:
        super().__init__(seed, augment)
        self.alpha_jsd = alpha_jsd
        self.magnitude, self.view_rounding = magnitude, view_rounding
        self._mix: AugMix | None = None

    @property
    def capturable(self) -> bool:
        """See :class:`Regime`."""
        return True

    def loss(self, model: Classifier, batch: Batch, epoch: Epoch) -> RegimeLoss:
        """The terms ``ce`` (on the clean view) and ``jsd``."""
        views = self.views(model, batch, epoch)
        logits = model(views.flatten(0, 1)).unflatten(0, views.shape[:2])
        terms = {"ce": F.cross_entropy(logits[0], batch.labels), "jsd": jensen_shannon(logits)}
        return RegimeLoss(terms, {"jsd": self.alpha_jsd}, logits[0])

    def views(self, model: Classifier, batch: Batch, epoch: Epoch) -> Tensor:
        """The clean view and two mixtures of each image: uint8 ``(3, B, 3, H, W)``."""
        clean = self.clean_view(batch, epoch)
        mixed = self._mix_for(model)(clean, ImageRandom(self.seed, epoch, batch.indices, Purpose.AUGMIX))
        return torch.cat([clean[None], mixed])

    def _mix_for(self, model: Classifier) -> AugMix:
        """Created at the first batch, since the rounding may depend on the model's encodings."""
        if self._mix is None:
            self._mix = augmix_for(model.encodings, 2, self.magnitude, self.view_rounding)
        return self._mix


def augmix_for(encodings: Sequence[TableEncoding], views: int, magnitude: float, view_rounding: str) -> AugMix:
    """What makes AugMix views for a model.

    Args:
        encodings: the model's.
        views: of each image.
        magnitude, view_rounding: see :class:`AugMixRegime`.

    Raises:
        BadInput: the encodings require different roundings.
    """
    rounding, buckets = view_rounding, None
    if rounding == "reference":
        wanted = {reference_rounding(encoding) for encoding in encodings}
        if len(wanted) > 1:
            names = ", ".join(encoding.name for encoding in encodings)
            raise BadInput(
                f"regime.view_rounding=reference: the model's encodings ({names}) have different ones; "
                "allowed are floor, nearest"
            )
        ((rounding, buckets),) = wanted
    return AugMix(views=views, magnitude=magnitude, rounding=rounding, buckets=buckets)


def reference_rounding(encoding: TableEncoding) -> tuple[Literal["floor", "nearest"], int | None]:
    """The rounding that gives a mixture the same code as the reference code does.

    The reference truncates x 255 for a table and x M for buckets, x being the mixture in [0, 1]; RGB it leaves as it
    is, and the nearest level is the nearest to that.

    Returns:
        ``rounding`` and ``buckets`` of :class:`~p2be_exp.augment.AugMix`: for the buckets of one-hot and thermometer
        codes (also of a custom encoding with the same buckets) floor and M; for other binary tables floor; for tables
        that are not binary nearest.
    """
    buckets = encoding.buckets()
    if buckets is not None:
        M = int(buckets.max()) + 1
        if torch.equal(buckets.cpu(), bucket_of_level(M)):
            return "floor", M
    return ("floor" if encoding.binary else "nearest"), None
