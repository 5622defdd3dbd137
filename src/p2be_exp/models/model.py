"""The classifiers of a configuration; first of all the plain one: an encoding, a stem, a trunk."""

from __future__ import annotations

import dataclasses
from typing import cast

from torch import Tensor

from p2be_exp.backbones import Backbone
from p2be_exp.config.schema import TrainConfig
from p2be_exp.encodings import TableEncoding, build_encoding
from p2be_exp.models.classifier import Classifier, build_trunk
from p2be_exp.models.pretrained import PRETRAINABLE, stem_shift
from p2be_exp.models.readers import StemReader
from p2be_exp.models.stem import EncodedConv2d
from p2be_exp.registry import built, option


class EncodedClassifier(Classifier):
    """An encoding, the stem that reads it, and a trunk.

    Args:
        encoding: gives the table of codes.
        backbone: the trunk; it says which stem it wants.
        shift: of the stem, see :class:`~p2be_exp.models.stem.EncodedConv2d`.

    Attributes:
        encoding: gives the table of codes.
        stem: the first convolution, on the encoded image.
        trunk: from the stem's features to logits.
    """

    def __init__(self, encoding: TableEncoding, backbone: Backbone, shift: Tensor | None = None) -> None:
        super().__init__()
        self.encoding = encoding
        self.stem = EncodedConv2d(encoding, **dataclasses.asdict(backbone.stem), shift=shift)
        self.trunk = backbone

    @classmethod
    def from_config(cls, config: TrainConfig, num_classes: int) -> EncodedClassifier:
        """See :class:`Classifier`; the stem is shifted where weights are named that want it."""
        encoding = build_encoding(config.encoding)
        pretrained = config.backbone.name in PRETRAINABLE and config.backbone.weights is not None
        shift = stem_shift(encoding) if pretrained else None
        return cls(encoding, build_trunk(config.backbone, num_classes), shift)

    @property
    def readers(self) -> tuple[StemReader]:
        """The stem's."""
        return (StemReader(self.encoding, self.stem),)

    def body(self, *features: Tensor) -> Tensor:
        """The trunk."""
        (of_stem,) = features
        return self.trunk(of_stem)

    def forward_codes(self, codes: Tensor) -> Tensor:
        """Codes ``(B, 3M, H, W)`` that are already there to logits, for attacks that relax them."""
        return self.trunk(self.stem.convolve(codes))


def list_model_kinds() -> list[str]:
    """Names of the kinds of models that there are."""
    return built("model")


def build_model(config: TrainConfig, num_classes: int) -> Classifier:
    """The freshly initialised classifier of a configuration (its ``model``, ``encoding`` and ``backbone`` groups).

    The weights depend on torch's global random state, and on nothing else: of ``backbone.weights`` it counts alone
    whether there are any (their stem is shifted), and the file is :mod:`~p2be_exp.models.pretrained`'s to load.

    Raises:
        BadInput: the backbone needs torchvision, which cannot be imported.
    """
    return cast("Classifier", option("model", config.model.name).factory().from_config(config, num_classes))
