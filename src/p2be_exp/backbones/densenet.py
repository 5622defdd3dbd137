"""DenseNets for 32 x 32 images: the DenseNet-BC that the paper names, and those of depth 40 that its code builds."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.backbones.backbone import Backbone, StemShape, init_convolutions
from p2be_exp.backbones.batch_norm import norm_and_activation
from p2be_exp.config.image_sizes import ImageSizes

_BLOCKS = 3
_BOTTLENECK = 4  # channels between the two convolutions of a layer, in units of the growth


class DenseNet(Backbone):
    """Three blocks of densely connected layers, without dropout.

    Args:
        depth: 3n + 4 convolutions; with a bottleneck 6n + 4.
        growth: k, channels that each layer adds; the stem has 2k.
        bottleneck: a 1 x 1 convolution to 4k channels before each 3 x 3.
        reduction: channels after a transition, as a share of those before, rounded down.
        num_classes: number of logits.

    Source: Huang et al. 2017; as in AugMix's and P2BE's code, with the mean over all positions at the end.
    """

    sizes = ImageSizes(least=8)
    made_for = 32
    activated = False

    def __init__(self, depth: int, growth: int, bottleneck: bool, reduction: float, num_classes: int) -> None:
        super().__init__()
        convolutions = 2 if bottleneck else 1
        if (depth - 4) % (_BLOCKS * convolutions):
            raise ValueError(f"depth={depth}: a DenseNet has {_BLOCKS * convolutions}n + 4 layers")
        layers = (depth - 4) // (_BLOCKS * convolutions)
        layer = BottleneckLayer if bottleneck else PlainLayer
        self.stem = StemShape(out_channels=2 * growth)
        channels = self.stem.out_channels
        stages: list[nn.Module] = []
        starts = []
        for block in range(_BLOCKS):
            starts.append(len(stages))
            if block:
                reduced = math.floor(channels * reduction)
                stages.append(Transition(channels, reduced))
                channels = reduced
            stages += [layer(channels + number * growth, growth) for number in range(layers)]
            channels += layers * growth
        self.stages = nn.Sequential(*stages)  # layer by layer: the numbers are part of the keys of checkpoints
        self._cuts = list(zip(starts, [*starts[1:], len(stages)], strict=True))
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, num_classes)
        init_convolutions(self)

    def begin(self, features: Tensor) -> Tensor:
        """Stem features ``(B, 2k, H, W)`` as they are: a layer starts with its own batch norm."""
        return features

    def stage_modules(self) -> list[nn.Module]:
        """The three blocks, the second and third behind the transition to them."""
        return [self.stages[first:last] for first, last in self._cuts]

    def end(self, features: Tensor) -> Tensor:
        """Batch norm, ReLU, the mean over all positions, and the classifier: logits ``(B, num_classes)``."""
        features = norm_and_activation(self.norm, F.relu, features)
        return self.classifier(features.mean(dim=(2, 3)))


class PlainLayer(nn.Module):
    """Batch norm, ReLU and a 3 x 3 convolution to k channels, put behind the input's."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, growth, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C + k, H, W)``."""
        inner = norm_and_activation(self.norm, F.relu, features, convolved=True)
        return torch.cat([features, self.conv(inner)], dim=1)


class BottleneckLayer(nn.Module):
    """A 1 x 1 convolution to 4k channels and a 3 x 3 to k, each after batch norm and ReLU, put behind the input's."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        inner = _BOTTLENECK * growth
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, growth, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, C + k, H, W)``."""
        inner = self.conv1(norm_and_activation(self.norm1, F.relu, features, convolved=True))
        inner = self.conv2(norm_and_activation(self.norm2, F.relu, inner, convolved=True))
        return torch.cat([features, inner], dim=1)


class Transition(nn.Module):
    """Batch norm, ReLU, a 1 x 1 convolution, and the mean of 2 x 2 positions."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H / 2, W / 2)``."""
        inner = norm_and_activation(self.norm, F.relu, features, convolved=True)
        return F.avg_pool2d(self.conv(inner), 2)
