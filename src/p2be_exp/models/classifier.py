"""What a classifier is: it reads levels with one or several readers, and a body maps what they read to logits.

Attacks by gradient, regimes, surrogates and export get between the two, and know nothing else of a model.
"""

from __future__ import annotations

import functools
import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from p2be_exp.backbones import Backbone, build_backbone
from p2be_exp.config.schema import BackboneConfig, TrainConfig
from p2be_exp.config.typed import plain
from p2be_exp.encodings import TableEncoding, build_encoding
from p2be_exp.models.model_input import check_model_input, to_levels
from p2be_exp.models.pretrained import PRETRAINABLE
from p2be_exp.models.readers import Reader
from p2be_exp.models.surrogate import Surrogate, SurrogateClassifier

_NO_GRADIENT = (
    "this model looks pixels up in a table, which has no gradient: attack model.surrogate('secant'), "
    "'smooth' or 'interpolate', and name it in the result"
)


class Classifier(nn.Module, ABC):
    """Images in, logits out.

    A model of its own gives :attr:`readers` and :meth:`body`. The modules that they use are its attributes.
    """

    @classmethod
    def from_config(cls, config: TrainConfig, num_classes: int) -> Self:
        """The freshly initialised model of a configuration.

        By default it is made of the ``encoding`` and ``backbone`` of the configuration and the keys of its own group,
        apart from ``name``: ``cls(encoding, backbone, **keys)``.
        """
        keys = {key: value for key, value in vars(config.model).items() if key != "name"}
        encoding = build_encoding(config.encoding)
        return cls(encoding, build_trunk(config.backbone, num_classes), **keys)

    # -- what a model says of itself -------------------------------------------------------------------------------

    @property
    @abstractmethod
    def readers(self) -> tuple[Reader, ...]:
        """One or several; made anew whenever they are asked for. The first reads the configuration's encoding."""

    @abstractmethod
    def body(self, *features: Tensor) -> Tensor:
        """What the readers read, in their order, to logits ``(B, classes)``."""

    def answers(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and those that a gradient attack climbs, by one pass: twice the same unless a model says else.

        A model whose logits hide the way (behind a tanh, or saturated) gives here what leads to it; whether an image
        is wrong is judged on the first.
        """
        logits = self.body(*features)
        return logits, logits

    def twin_body(self, *features: Tensor) -> Tensor:
        """The logits of :meth:`body`, to the bit, for a differentiable twin.

        They are :meth:`body`'s own unless a model says else: one whose logits hide the way gives them here with the
        gradient of what leads to them.
        """
        return self.body(*features)

    # -- what follows ----------------------------------------------------------------------------------------------

    def climbed(self, *features: Tensor) -> Tensor:
        """The logits ``(B, classes)`` that a gradient attack climbs; see :meth:`answers`."""
        return self.answers(*features)[1]

    @property
    def encodings(self) -> tuple[TableEncoding, ...]:
        """The encodings of the readers, in their order, each once."""
        return tuple({id(reader.encoding): reader.encoding for reader in self.readers}.values())

    def read(self, levels: Tensor, learn: bool = True) -> tuple[Tensor, ...]:
        """The features of each reader.

        Args:
            levels: uint8 ``(B, 3, H, W)``.
            learn: whether the gradient reaches the tables.
        """
        tables = {encoding: encoding.table() for encoding in self.encodings}
        if not learn:
            tables = {encoding: table.detach() for encoding, table in tables.items()}
        return tuple(reader.of_levels(levels, tables[reader.encoding]) for reader in self.readers)

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
        return self.body(*self.read(to_levels(images)))

    def surrogate(self, name: Surrogate, radius: int = 8, width: float = 8.0) -> SurrogateClassifier:
        """The differentiable twin, for attacks by gradient (see :mod:`p2be_exp.models.surrogate`).

        Args:
            name: ``secant``, ``smooth`` or ``interpolate``.
            radius: of ``secant``, in levels: the ball's, as a rule.
            width: of ``smooth``, in levels.
        """
        return SurrogateClassifier(self, name, radius, width)

    # -- what is trained -------------------------------------------------------------------------------------------

    def smoothness(self) -> Tensor | None:
        """The loss term that keeps the codes of neighbouring levels alike, summed over the tables; None for none."""
        each = [term for encoding in self.encodings if (term := encoding.smoothness()) is not None]
        return functools.reduce(operator.add, each) if each else None

    def learned(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """The parameters that learn: the network's and the tables', each in the order of :meth:`parameters`."""
        tables = list(dict.fromkeys(each for encoding in self.encodings for each in encoding.parameters()))
        of_tables = set(tables)
        network = [each for each in self.parameters() if each not in of_tables]
        return _learning(network), _learning(tables)


def _learning(parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
    return [each for each in parameters if each.requires_grad]


def build_trunk(config: BackboneConfig, num_classes: int) -> Backbone:
    """The freshly initialised backbone of a configuration; weights that it names are not loaded.

    Raises:
        BadInput: it needs torchvision, which cannot be imported.
    """
    settings = plain(config)
    name = settings.pop("name")
    if name in PRETRAINABLE:
        settings.pop("weights")
    return build_backbone(name, num_classes, **settings)
