"""What a backbone is: the shape of its first convolution, and a trunk from its features to logits."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from p2be_exp.config.image_sizes import ImageSizes


@dataclass(frozen=True)
class StemShape:
    """The first convolution of a network; its input channels are the encoding's.

    Attributes:
        out_channels, kernel_size, stride, padding, bias: those of the convolution.
        init: of its weight, see :class:`~p2be_exp.models.stem.EncodedConv2d`.
    """

    out_channels: int
    kernel_size: int = 3
    stride: int = 1
    padding: int = 1
    bias: bool = False
    init: Literal["he", "pytorch"] = "he"


class Backbone(nn.Module, ABC):
    """The trunk of a network; the model puts the stem that it asks for in front.

    Attributes:
        stem: the first convolution that the trunk expects. A class attribute, or set before ``forward``.
        sizes: the images that the network takes; a class attribute, so that it is known before anything is built.
        made_for: height and width in pixels of the images that it was designed for; None where it does not say.
    """

    stem: StemShape
    sizes: ImageSizes = ImageSizes()
    made_for: int | None = None

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Stem features ``(B, stem.out_channels, H, W)`` to logits ``(B, classes)``."""


def init_convolutions(module: nn.Module) -> None:
    """Draw every convolution's weight from N(0, 2 / (kh * kw * out_channels)), as AugMix's and P2BE's networks do.

    With groups the full number of output channels counts. Batch norms keep 1 and 0; biases of convolutions keep
    PyTorch's default; linear biases become 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            kernel_h, kernel_w = layer.kernel_size
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (kernel_h * kernel_w * layer.out_channels)))
        elif isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
