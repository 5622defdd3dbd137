"""Wide ResNets for 32 x 32 images: WRN-40-2 of the paper, and WRN-16-1 for tests and a first run."""

from __future__ import annotations

from torch import Tensor, nn

from p2be_exp.backbones.activation import Activation, activation_function
from p2be_exp.backbones.backbone import Backbone, StemShape, init_convolutions
from p2be_exp.backbones.batch_norm import norm_and_activation
from p2be_exp.config.image_sizes import ImageSizes


class WideResNet(Backbone):
    """Pre-activation Wide ResNet without dropout.

    Args:
        depth: 6n + 4 layers.
        widen: factor on the widths 16, 32, 64 of the three groups.
        num_classes: number of logits.
        activation: ``relu`` or ``elu``.

    Source: Zagoruyko & Komodakis 2016; as in AugMix's and P2BE's code.
    """

    stem = StemShape(out_channels=16)
    sizes = ImageSizes(least=8)
    made_for = 32
    activated = False

    def __init__(self, depth: int, widen: int, num_classes: int, activation: str = "relu") -> None:
        super().__init__()
        if (depth - 4) % 6:
            raise ValueError(f"depth={depth}: a Wide ResNet has 6n + 4 layers")
        blocks = (depth - 4) // 6
        self.activation = activation_function(activation)
        widths = [self.stem.out_channels] + [16 * widen * 2**group for group in range(3)]
        self.groups = nn.Sequential(
            *(
                _group(blocks, in_channels, out_channels, stride, self.activation)
                for in_channels, out_channels, stride in zip(widths, widths[1:], (1, 2, 2), strict=False)
            )
        )
        self.norm = nn.BatchNorm2d(widths[-1])
        self.classifier = nn.Linear(widths[-1], num_classes)
        init_convolutions(self)

    def begin(self, features: Tensor) -> Tensor:
        """Stem features ``(B, 16, H, W)`` as they are: a block starts with its own batch norm."""
        return features

    def stage_modules(self) -> list[nn.Module]:
        """The three groups; what is between them is a sum, before batch norm and activation, and may be negative."""
        return list(self.groups)

    def end(self, features: Tensor) -> Tensor:
        """Batch norm, activation, the mean over all positions, and the classifier: logits ``(B, num_classes)``."""
        features = norm_and_activation(self.norm, self.activation, features)
        return self.classifier(features.mean(dim=(2, 3)))


class PreActivationBlock(nn.Module):
    """Two 3 x 3 convolutions, each after batch norm and the activation.

    Where the width changes, the 1 x 1 shortcut also reads the normalised input; elsewhere the input itself is added.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = (
            None if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H / stride, W / stride)``."""
        active = norm_and_activation(self.norm1, self.activation, features, convolved=True)
        inner = norm_and_activation(self.norm2, self.activation, self.conv1(active), convolved=True)
        residual = self.conv2(inner)
        return residual + (features if self.shortcut is None else self.shortcut(active))


def _group(blocks: int, in_channels: int, out_channels: int, stride: int, activation: Activation) -> nn.Sequential:
    first = PreActivationBlock(in_channels, out_channels, stride, activation)
    rest = [PreActivationBlock(out_channels, out_channels, 1, activation) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)
