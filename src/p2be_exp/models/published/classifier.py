"""A published network as a classifier of levels."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from p2be_exp.config.schema import PublishedModelConfig, TrainConfig
from p2be_exp.encodings import RGB
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.published.image_network import ImageNetwork
from p2be_exp.models.published.networks import build_published
from p2be_exp.models.readers import CodeReader


class PublishedClassifier(Classifier):
    """A network of the literature, frozen: the reader gives level / 255, the body is the network.

    Such a network may resize images before its first convolution, so there is no stem of levels.

    Args:
        network: images in [0, 1] to logits.

    Attributes:
        encoding: RGB.
        network: always in eval mode; none of its weights learns.
    """

    def __init__(self, network: ImageNetwork) -> None:
        super().__init__()
        self.encoding = RGB()
        self.network = network.requires_grad_(False).eval()

    @classmethod
    def from_config(cls, config: TrainConfig, num_classes: int) -> Self:
        """The network that ``model.network`` names; the weights that ``model.weights`` names are not loaded.

        Raises:
            BadInput: it was not published with so many classes.
        """
        assert isinstance(config.model, PublishedModelConfig)
        assert config.model.network is not None
        return cls(build_published(config.model.network, num_classes))

    @property
    def readers(self) -> tuple[CodeReader]:
        """Of RGB's codes: level / 255."""
        return (CodeReader(self.encoding),)

    def body(self, *features: Tensor) -> Tensor:
        """The network."""
        (images,) = features
        return self.network(images)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the classifier; the network stays in eval mode, and its running statistics as published."""
        super().train(mode)
        self.network.eval()
        return self
