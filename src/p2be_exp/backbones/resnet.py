"""ResNets: ResNet-18 for 32 x 32 images, and torchvision's ResNet-50 for 224 x 224."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from p2be_exp.backbones.activation import Activation, activation_function
from p2be_exp.backbones.backbone import Backbone, StemShape, init_convolutions
from p2be_exp.backbones.batch_norm import norm_and_activation
from p2be_exp.backbones.torchvision_models import torchvision_models
from p2be_exp.config.image_sizes import ImageSizes


class ResNet18(Backbone):
    """ResNet-18 as it is widely used for CIFAR: a 3 x 3 stem without stride and no max-pool; else the ImageNet one.

    Args:
        num_classes: number of logits.
        activation: ``relu`` or ``elu``.

    Source: He et al. 2016.
    """

    stem = StemShape(out_channels=64)
    sizes = ImageSizes(least=9)  # of 8 x 8 one position is left, which is too few to train on one image
    made_for = 32

    def __init__(self, num_classes: int, activation: str = "relu") -> None:
        super().__init__()
        self.activation = activation_function(activation)
        self.norm = nn.BatchNorm2d(self.stem.out_channels)
        stages, channels = [], self.stem.out_channels
        for out_channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            first = BasicBlock(channels, out_channels, stride, self.activation)
            stages.append(nn.Sequential(first, BasicBlock(out_channels, out_channels, 1, self.activation)))
            channels = out_channels
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, num_classes)
        init_convolutions(self)

    def begin(self, features: Tensor) -> Tensor:
        """Batch norm and activation: ``(B, 64, H, W)`` to the same shape."""
        return norm_and_activation(self.norm, self.activation, features)

    def stage_modules(self) -> list[nn.Module]:
        """The four stages."""
        return list(self.stages)

    def end(self, features: Tensor) -> Tensor:
        """The mean over all positions and the classifier: ``(B, 512, H, W)`` to logits ``(B, num_classes)``."""
        return self.classifier(features.mean(dim=(2, 3)))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, each with batch norm; the activation between and after the sum.

    Where the number of channels changes, the shortcut is a 1 x 1 convolution with batch norm.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, activation: Activation) -> None:
        super().__init__()
        self.activation = activation
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            convolution = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(out_channels))

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H / stride, W / stride)``."""
        inner = norm_and_activation(self.norm1, self.activation, self.conv1(features), convolved=True)
        return self.activation(self.shortcut(features) + self.norm2(self.conv2(inner)))


class ResNet50(Backbone):
    """torchvision's ResNet-50 behind its first convolution, initialised as torchvision does.

    Args:
        num_classes: number of logits.
        activation: ``relu`` or ``elu``.

    Attributes:
        network: torchvision's module; the identity stands where its first convolution was, and ELUs where its ReLUs
            were if they are asked for.

    Raises:
        BadInput: torchvision cannot be imported.

    Source: He et al. 2016; stride in the 3 x 3 convolution of a block.
    """

    stem = StemShape(out_channels=64, kernel_size=7, stride=2, padding=3)
    sizes = ImageSizes(least=64)
    made_for = 224

    def __init__(self, num_classes: int, activation: str = "relu") -> None:
        super().__init__()
        self.network = torchvision_models("resnet50").resnet50(weights=None, num_classes=num_classes)
        self.network.conv1 = nn.Identity()
        activation_function(activation)  # refuses another name
        if activation == "elu":
            _relus_become_elus(self.network)

    def begin(self, features: Tensor) -> Tensor:
        """Batch norm, activation and max-pool: ``(B, 64, H, W)`` to ``(B, 64, H / 2, W / 2)``."""
        return self.network.maxpool(self.network.relu(self.network.bn1(features)))

    def stage_modules(self) -> list[nn.Module]:
        """torchvision's ``layer1`` to ``layer4``."""
        return [self.network.layer1, self.network.layer2, self.network.layer3, self.network.layer4]

    def end(self, features: Tensor) -> Tensor:
        """The mean over all positions and the classifier: ``(B, 2048, H, W)`` to logits ``(B, num_classes)``."""
        return self.network.fc(torch.flatten(self.network.avgpool(features), 1))


def _relus_become_elus(network: nn.Module) -> None:
    """Put an ELU in every place of a ReLU; in place like these, which overwrite what a batch norm or a sum has made."""
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.ReLU):
                setattr(module, name, nn.ELU(inplace=True))
