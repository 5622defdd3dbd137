"""AllConv, AugMix's all-convolutional network for 32 x 32 images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from p2be_exp.backbones.backbone import Backbone, StemShape, init_convolutions
from p2be_exp.backbones.dropout import ImageDropout
from p2be_exp.config.image_sizes import ImageSizes

_POOLED = 8  # rows and columns that the final mean covers


class AllConv(Backbone):
    """Convolutions with bias, each followed by batch norm and the activation; dropout after both max-pools.

    Two points are kept as they are in AugMix's code. The last two convolutions are 1 x 1 with a padding of 1, so that
    6 x 6 positions become 10 x 10. And the mean at the end covers the first 8 x 8 of these alone.

    Args:
        num_classes: number of logits.

    Source: Springenberg et al. 2015; Hendrycks et al. 2020, whose code this follows.
    """

    stem = StemShape(out_channels=96, bias=True)
    sizes = ImageSizes(least=32, most=32)
    made_for = 32

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(96)
        self.layers = nn.Sequential(
            Layer(96, 96, 3, padding=1),
            Layer(96, 96, 3, padding=1),
            nn.MaxPool2d(2),
            ImageDropout(0.5),
            Layer(96, 192, 3, padding=1),
            Layer(192, 192, 3, padding=1),
            Layer(192, 192, 3, padding=1),
            nn.MaxPool2d(2),
            ImageDropout(0.5),
            Layer(192, 192, 3, padding=0),
            Layer(192, 192, 1, padding=1),
            Layer(192, 192, 1, padding=1),
        )
        self.classifier = nn.Linear(192, num_classes)
        init_convolutions(self)

    def forward(self, features: Tensor) -> Tensor:
        """Stem features ``(B, 96, 32, 32)`` to logits ``(B, num_classes)``."""
        features = self.layers(soft_gate(self.norm(features)))
        return self.classifier(features[:, :, :_POOLED, :_POOLED].mean(dim=(2, 3)))


class Layer(nn.Module):
    """A convolution with bias, batch norm, and the activation."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H', W')``."""
        return soft_gate(self.norm(self.conv(features)))


def soft_gate(features: Tensor) -> Tensor:
    """x sigmoid(1.702 x), the approximation of GELU that AugMix's code uses."""
    return features * torch.sigmoid(1.702 * features)
