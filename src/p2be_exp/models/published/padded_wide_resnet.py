"""Wide ResNets that pad as TensorFlow does: of Gowal et al. 2020 ("DeepMind's"), and Peng et al. 2023 ("Ra-WRN").

Modules have the names of the published state dicts: ``init_conv``, ``layer.G.block.I.conv_0``, ``logits``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.backbones.activation import Activation
from p2be_exp.models.published.image_network import ImageNetwork


class PaddedWideResNet(ImageNetwork):
    """A pre-activation Wide ResNet whose 3 x 3 convolutions of stride 2 pad below and on the right alone.

    Args:
        num_classes: number of logits.
        mean, std: see :class:`~p2be_exp.models.published.image_network.ImageNetwork`.
        stem: channels of the first convolution.
        depths: blocks of each of the three groups.
        widths: channels of each group.
        activation: in every place; SiLU, which is what these authors call Swish, too.
        squeeze: width of the squeeze-and-excitation behind the second convolution of a block, as a share of its
            channels; None for none.

    Source: Gowal et al. 2020, arXiv 2010.03593 (the defaults are its WRN-70-16); Peng et al. 2023, arXiv 2308.16258.
    """

    def __init__(
        self,
        num_classes: int,
        mean: Tensor,
        std: Tensor,
        *,
        stem: int = 16,
        depths: Sequence[int] = (11, 11, 11),
        widths: Sequence[int] = (256, 512, 1024),
        activation: Activation = F.silu,
        squeeze: float | None = None,
    ) -> None:
        super().__init__(mean, std)
        self.activation = activation
        self.init_conv = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        sizes = zip(depths, itertools.pairwise((stem, *widths)), (1, 2, 2), strict=True)
        self.layer = nn.Sequential(
            *(_Group(depth, *both, stride, activation, squeeze) for depth, both, stride in sizes)
        )
        self.batchnorm = nn.BatchNorm2d(widths[-1])
        self.logits = nn.Linear(widths[-1], num_classes)

    def begin(self, images: Tensor) -> Tensor:
        """Normalisation and the first convolution: ``(B, stem, H, W)``."""
        return self.init_conv(self.normalised(images))

    def stage_modules(self) -> list[nn.Module]:
        """The three groups; what is between them is a sum, before batch norm and activation."""
        return list(self.layer)

    def end(self, features: Tensor) -> Tensor:
        """Batch norm, activation, the mean over all positions, and the classifier: logits ``(B, num_classes)``."""
        return self.logits(self.activation(self.batchnorm(features)).mean(dim=(2, 3)))


class _Group(nn.Module):
    def __init__(
        self,
        blocks: int,
        in_channels: int,
        out_channels: int,
        stride: int,
        activation: Activation,
        squeeze: float | None,
    ) -> None:
        super().__init__()
        first = PaddedBlock(in_channels, out_channels, stride, activation, squeeze)
        rest = (PaddedBlock(out_channels, out_channels, 1, activation, squeeze) for _ in range(blocks - 1))
        self.block = nn.Sequential(first, *rest)

    def forward(self, features: Tensor) -> Tensor:
        return self.block(features)


class PaddedBlock(nn.Module):
    """Two 3 x 3 convolutions, each after batch norm and the activation.

    Where the width changes, a 1 x 1 shortcut reads the activated input; elsewhere the input itself is added.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, activation: Activation, squeeze: float | None
    ) -> None:
        super().__init__()
        self.activation = activation
        # At stride 2 all padding is on one side: with padding=1 the convolution would read other positions.
        self.pad = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)
        self.batchnorm_0 = nn.BatchNorm2d(in_channels)
        self.conv_0 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(out_channels)
        self.conv_1 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = (
            None if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
        )
        self.se = None if squeeze is None else SqueezeExcitation(out_channels, round(squeeze * out_channels))

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H / stride, W / stride)``."""
        active = self.activation(self.batchnorm_0(features))
        residual = self.conv_0(F.pad(active, self.pad))
        residual = self.conv_1(self.activation(self.batchnorm_1(residual)))
        if self.se is not None:
            residual = self.se(residual)
        return residual + (features if self.shortcut is None else self.shortcut(active))


class SqueezeExcitation(nn.Module):
    """Channels weighed by a function of their means: sigmoid(fc2(relu(fc1(mean over positions)))).

    Args:
        channels: of the features.
        squeezed: channels in between.

    Source: Hu et al. 2018; names as torchvision's.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, channels, H, W)`` to the same shape."""
        means = features.mean(dim=(2, 3), keepdim=True)
        return features * self.fc2(self.fc1(means).relu()).sigmoid()
