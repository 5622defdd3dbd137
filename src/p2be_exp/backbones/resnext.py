"""ResNeXt-29 for 32 x 32 images: 4 groups 32 wide, as papers and code have it, and 32 groups 4 wide."""

from __future__ import annotations

from torch import Tensor, nn

from p2be_exp.backbones.activation import Activation, activation_function
from p2be_exp.backbones.backbone import Backbone, StemShape, init_convolutions
from p2be_exp.backbones.batch_norm import norm_and_activation
from p2be_exp.config.image_sizes import ImageSizes

_BLOCKS = 3  # in each of three stages
_EXPANSION = 4


class ResNeXt(Backbone):
    """Three stages of three bottleneck blocks with grouped convolutions.

    Args:
        groups: of the 3 x 3 convolutions (the cardinality).
        width: channels of a group in the first stage; twice and four times as many in the others.
        num_classes: number of logits.
        activation: ``relu`` or ``elu``.

    Source: Xie et al. 2017, block of type C; as in AugMix's and P2BE's code.
    """

    stem = StemShape(out_channels=64)
    sizes = ImageSizes(least=8)
    made_for = 32

    def __init__(self, groups: int, width: int, num_classes: int, activation: str = "relu") -> None:
        super().__init__()
        self.activation = activation_function(activation)
        self.norm = nn.BatchNorm2d(self.stem.out_channels)
        stages, channels = [], self.stem.out_channels
        for number, stride in enumerate((1, 2, 2)):
            inner, out_channels = groups * width * 2**number, 64 * _EXPANSION * 2**number
            widths = [(channels, stride)] + [(out_channels, 1)] * (_BLOCKS - 1)
            stages.append(
                nn.Sequential(
                    *(
                        GroupedBottleneck(in_channels, inner, out_channels, groups, step, self.activation)
                        for in_channels, step in widths
                    )
                )
            )
            channels = out_channels
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, num_classes)
        init_convolutions(self)
        nn.init.kaiming_normal_(self.classifier.weight)  # N(0, 2 / 1024), in this network alone

    def begin(self, features: Tensor) -> Tensor:
        """Batch norm and activation: ``(B, 64, H, W)`` to the same shape."""
        return norm_and_activation(self.norm, self.activation, features)

    def stage_modules(self) -> list[nn.Module]:
        """The three stages."""
        return list(self.stages)

    def end(self, features: Tensor) -> Tensor:
        """The mean over all positions and the classifier: ``(B, 1024, H, W)`` to logits ``(B, num_classes)``."""
        return self.classifier(features.mean(dim=(2, 3)))


class GroupedBottleneck(nn.Module):
    """1 x 1, grouped 3 x 3 and 1 x 1 convolutions, each with batch norm; the activation between and after the sum.

    Where the number of channels changes, the shortcut is a 1 x 1 convolution with batch norm.
    """

    def __init__(
        self, in_channels: int, inner: int, out_channels: int, groups: int, stride: int, activation: Activation
    ) -> None:
        super().__init__()
        self.activation = activation
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            convolution = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(out_channels))

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H / stride, W / stride)``."""
        inner = norm_and_activation(self.norm1, self.activation, self.conv1(features), convolved=True)
        inner = norm_and_activation(self.norm2, self.activation, self.conv2(inner), convolved=True)
        return self.activation(self.shortcut(features) + self.norm3(self.conv3(inner)))
