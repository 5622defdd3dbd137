"""AlexNet: torchvision's, for 224 x 224 images."""

from __future__ import annotations

from torch import Tensor, nn

from p2be_exp.backbones.backbone import Backbone, StemShape
from p2be_exp.backbones.dropout import ImageDropout
from p2be_exp.backbones.torchvision_models import torchvision_models
from p2be_exp.config.image_sizes import ImageSizes


class AlexNet(Backbone):
    """torchvision's AlexNet behind its first convolution; all weights, the stem's too, start as PyTorch's do.

    (Without batch norms the scale of the first convolution reaches the logits: N(0, 2 / (kh kw out)) takes no account
    of how many values a code has.)

    Args:
        num_classes: number of logits.

    Attributes:
        network: torchvision's module; the identity stands where its first convolution was, and its dropouts draw as
            the project's do.

    Raises:
        BadInput: torchvision cannot be imported.

    Source: Krizhevsky 2014, "One weird trick for parallelizing convolutional neural networks".
    """

    stem = StemShape(out_channels=64, kernel_size=11, stride=4, padding=2, bias=True, init="pytorch")
    sizes = ImageSizes(least=63)
    made_for = 224

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.network = torchvision_models("alexnet").alexnet(weights=None, num_classes=num_classes)
        self.network.features[0] = nn.Identity()
        self.network.features[1] = nn.ReLU()  # not in place: the features are the caller's
        for place, layer in enumerate(self.network.classifier):
            if isinstance(layer, nn.Dropout):
                self.network.classifier[place] = ImageDropout(layer.p)

    def forward(self, features: Tensor) -> Tensor:
        """Stem features ``(B, 64, H, W)`` to logits ``(B, num_classes)``."""
        return self.network(features)
