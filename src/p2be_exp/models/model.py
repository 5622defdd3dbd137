"""The classifier: images in, logits out, with the encoding inside."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from p2be_exp.backbones import Backbone, build_backbone
from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import plain
from p2be_exp.encodings import TableEncoding, build_encoding
from p2be_exp.models.model_input import check_model_input, to_levels
from p2be_exp.models.pretrained import PRETRAINABLE, stem_shift
from p2be_exp.models.stem import EncodedConv2d
from p2be_exp.models.surrogate import Surrogate, SurrogateClassifier

_NO_GRADIENT = (
    "this model looks pixels up in a table, which has no gradient: attack model.surrogate('secant'), "
    "'smooth' or 'interpolate', and name it in the result"
)


class EncodedClassifier(nn.Module):
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

    def forward(self, images: Tensor) -> Tensor:
        """Images to logits.

        Args:
            images: ``(B, 3, H, W)``, levels as uint8 or floats in [0, 1] (taken to the nearest level; no gradient).

        Returns:
            Logits, float ``(B, classes)``.

        Raises:
            BadInput: anything else: see :func:`~p2be_exp.models.model_input.check_model_input`.
            RuntimeError: images that require a gradient, which a look-up does not have.
        """
        check_model_input(images)
        if images.requires_grad and torch.is_grad_enabled():
            raise RuntimeError(_NO_GRADIENT)
        return self.trunk(self.stem(to_levels(images), self.encoding.table()))

    def forward_codes(self, codes: Tensor) -> Tensor:
        """Codes ``(B, 3M, H, W)`` that are already there to logits, for attacks that relax them."""
        return self.trunk(self.stem.convolve(codes))

    def surrogate(self, name: Surrogate, radius: int = 8, width: float = 8.0) -> SurrogateClassifier:
        """The differentiable twin, for attacks by gradient (see :mod:`p2be_exp.models.surrogate`).

        Args:
            name: ``secant``, ``smooth`` or ``interpolate``.
            radius: of ``secant``, in levels: the ball's, as a rule.
            width: of ``smooth``, in levels.
        """
        return SurrogateClassifier(self, name, radius, width)


def build_model(config: TrainConfig, num_classes: int) -> EncodedClassifier:
    """The freshly initialised classifier of a configuration (its ``encoding`` and ``backbone`` groups).

    The weights depend on torch's global random state, and on nothing else: of ``backbone.weights`` it counts alone
    whether there are any (their stem is shifted), and the file is :mod:`~p2be_exp.models.pretrained`'s to load.

    Raises:
        BadInput: the backbone needs torchvision, which cannot be imported.
    """
    encoding = build_encoding(config.encoding)
    settings = plain(config.backbone)
    name = settings.pop("name")
    pretrained = name in PRETRAINABLE and settings.pop("weights") is not None
    shift = stem_shift(encoding) if pretrained else None
    return EncodedClassifier(encoding, build_backbone(name, num_classes, **settings), shift)
