"""Big Transfer's ResNets: pre-activation bottlenecks with group norm and standardised weights.

Modules have the names of the published state dicts: ``root.conv``, ``body.block1.unit01.gn1``, ``head.conv``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.models.published.image_network import ImageNetwork

_GROUPS = 32
_EPSILON = 1e-10


class BiTResNet(ImageNetwork):
    """A ResNet of Big Transfer, which reads images of any size resized to one.

    Args:
        num_classes: number of logits.
        mean, std: see :class:`~p2be_exp.models.published.image_network.ImageNetwork`.
        units: bottlenecks of each of the four blocks.
        width: channels of the first convolution; the blocks have 4, 8, 16 and 32 times as many. A multiple of 32.
        resolution: height and width to which images are resized, bilinearly, in pixels.

    Source: Kolesnikov et al. 2020, arXiv 1912.11370. The defaults are its ResNet-152x2 as Adaptive Smoothing and
    MixedNUTS use it.
    """

    def __init__(
        self,
        num_classes: int,
        mean: Tensor,
        std: Tensor,
        *,
        units: Sequence[int] = (3, 8, 36, 3),
        width: int = 128,
        resolution: int = 128,
    ) -> None:
        super().__init__(mean, std)
        self.resolution = resolution
        self.root = nn.ModuleDict({"conv": StandardisedConv2d(3, width, 7, stride=2, padding=3, bias=False)})
        self.body = nn.ModuleDict()
        channels = width
        for number, count in enumerate(units):
            inner = width * 2**number
            self.body[f"block{number + 1}"] = _block(count, channels, inner, stride=1 if number == 0 else 2)
            channels = 4 * inner
        self.head = nn.ModuleDict({"gn": nn.GroupNorm(_GROUPS, channels), "conv": nn.Conv2d(channels, num_classes, 1)})

    def begin(self, images: Tensor) -> Tensor:
        """Resize, normalisation, the first convolution and max pooling: ``(B, width, resolution / 4, resolution / 4)``.

        The pooling's border is zeros, and features may be negative: not PyTorch's own padding, which never wins.
        """
        size = (self.resolution, self.resolution)
        resized = F.interpolate(images, size, mode="bilinear", align_corners=False)
        return F.max_pool2d(F.pad(self.root["conv"](self.normalised(resized)), (1, 1, 1, 1)), 3, stride=2)

    def stage_modules(self) -> list[nn.Module]:
        """The four blocks; what is between them is a sum, before group norm and ReLU."""
        return list(self.body.values())

    def end(self, features: Tensor) -> Tensor:
        """Group norm, ReLU, the mean over all positions, and the classifier: logits ``(B, num_classes)``."""
        means = F.relu(self.head["gn"](features)).mean(dim=(2, 3), keepdim=True)
        return self.head["conv"](means).flatten(1)


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose weight is brought to mean 0 and variance 1 over each output channel (Qiao et al. 2019)."""

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H', W')``."""
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
        weight = (self.weight - mean) / torch.sqrt(variance + _EPSILON)
        return F.conv2d(features, weight, self.bias, self.stride, self.padding)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 (with the stride) and 1 x 1 convolutions, each after group norm and ReLU.

    Where the shape changes, a 1 x 1 convolution of the activated input is added, elsewhere the input itself.
    """

    def __init__(self, in_channels: int, inner: int, stride: int) -> None:
        super().__init__()
        out_channels = 4 * inner
        self.gn1 = nn.GroupNorm(_GROUPS, in_channels)
        self.conv1 = StandardisedConv2d(in_channels, inner, 1, bias=False)
        self.gn2 = nn.GroupNorm(_GROUPS, inner)
        self.conv2 = StandardisedConv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.gn3 = nn.GroupNorm(_GROUPS, inner)
        self.conv3 = StandardisedConv2d(inner, out_channels, 1, bias=False)
        same = stride == 1 and in_channels == out_channels
        self.downsample = None if same else StandardisedConv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, 4 * inner, H / stride, W / stride)``."""
        active = F.relu(self.gn1(features))
        residual = self.conv2(F.relu(self.gn2(self.conv1(active))))
        residual = self.conv3(F.relu(self.gn3(residual)))
        return residual + (features if self.downsample is None else self.downsample(active))


def _block(units: int, in_channels: int, inner: int, stride: int) -> nn.Sequential:
    rest = {f"unit{number:02d}": Bottleneck(4 * inner, inner, stride=1) for number in range(2, units + 1)}
    return nn.Sequential(OrderedDict[str, nn.Module](unit01=Bottleneck(in_channels, inner, stride), **rest))
