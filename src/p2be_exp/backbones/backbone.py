"""What a backbone is: the shape of its first convolution, and a trunk from its features to logits."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class StemShape:
    """The first convolution of a network; its input channels are the encoding's."""

    out_channels: int
    kernel_size: int = 3
    stride: int = 1
    padding: int = 1


class Backbone(nn.Module, ABC):
    """The trunk of a network; the model puts the stem that it asks for in front.

    Attributes:
        stem: the first convolution that the trunk expects. A class attribute, or set before ``forward``.
    """

    stem: StemShape

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Stem features ``(B, stem.out_channels, H, W)`` to logits ``(B, classes)``."""


def init_convolutions(module: nn.Module) -> None:
    """Draw every convolution's weight from N(0, 2 / (kh * kw * out_channels)), as AugMix's and P2BE's networks do.

    With groups the full number of output channels counts. Batch norms keep 1 and 0; linear biases become 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            kernel_h, kernel_w = layer.kernel_size
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (kernel_h * kernel_w * layer.out_channels)))
        elif isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
