"""What a published network is: images in, logits out, and the maps between its stages."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class ImageNetwork(nn.Module, ABC):
    """A network that reads images in [0, 1] and normalises them itself.

    It is taken apart as a :class:`~p2be_exp.backbones.backbone.Backbone` with stages is, except that :meth:`begin`
    reads images, since the stem is its own. The first two stages' outputs are the maps that a mixture's gate reads.

    Args:
        mean, std: by colour, ``(3, 1, 1)``: images are normalised to (image - mean) / std; None for images as they are.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(self, mean: Tensor | None = None, std: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def normalised(self, images: Tensor) -> Tensor:
        """(images - mean) / std, in the shape of the images."""
        return images if self.mean is None or self.std is None else (images - self.mean) / self.std

    @abstractmethod
    def begin(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] to the input of the first stage."""

    @abstractmethod
    def stage_modules(self) -> list[nn.Module]:
        """The stages in their order, two or more, each of one input and one output ``(B, C, H, W)``."""

    @abstractmethod
    def end(self, features: Tensor) -> Tensor:
        """Output of the last stage to logits ``(B, classes)``."""

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, 3, H, W)`` in [0, 1] to logits ``(B, classes)``."""
        features = self.begin(images)
        for stage in self.stage_modules():
            features = stage(features)
        return self.end(features)
