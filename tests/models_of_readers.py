"""Models that read in other ways than the plain one: by two readers, and by codes alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.backbones import Backbone, StemShape
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.models.readers import CodeReader, StemReader


class SmoothTrunk(Backbone):
    """Nothing that has a corner, so that no gradient hangs on rounding."""

    stem = StemShape(out_channels=5)

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(5), nn.Conv2d(5, 6, 3, padding=1)
        self.classifier = nn.Linear(6, classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(torch.tanh(self.conv(torch.tanh(self.norm(features)))).mean(dim=(2, 3)))


class TwoNets(Classifier):
    """Two networks, each with an encoding of its own, whose logits are added."""

    def __init__(self, one: EncodedClassifier, other: EncodedClassifier) -> None:
        super().__init__()
        self.one, self.other = one, other

    @property
    def readers(self):
        return tuple(StemReader(each.encoding, each.stem) for each in (self.one, self.other))

    def body(self, *features: Tensor) -> Tensor:
        first, second = features
        return self.one.trunk(first) + self.other.trunk(second)


class OnCodes(Classifier):
    """A network whose body gets the codes, and whose logits a tanh may flatten: the attack climbs what is before it."""

    def __init__(self, like: EncodedClassifier, sharpness: float = 0.0) -> None:
        super().__init__()
        self.encoding, self.conv, self.trunk, self.sharpness = like.encoding, like.stem, like.trunk, sharpness

    @property
    def readers(self):
        return (CodeReader(self.encoding),)

    def body(self, *features: Tensor) -> Tensor:
        return self.answers(*features)[0]

    def answers(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        (codes,) = features
        scores = self.trunk(F.conv2d(codes, self.conv.weight, padding=self.conv.padding))
        return (torch.tanh(self.sharpness * scores) if self.sharpness else scores), scores


def net(encoding, seed: int = 0) -> EncodedClassifier:
    """A small smooth network in float64, in eval mode."""
    torch.manual_seed(seed)
    return EncodedClassifier(encoding, SmoothTrunk()).double().eval()


def two_nets(one, other) -> TwoNets:
    """The sum of two small networks, in eval mode."""
    return TwoNets(net(one, 1), net(other, 2)).eval()


def images(batch: int = 3, size: int = 5, seed: int = 0) -> Tensor:
    """Random levels, uint8 ``(batch, 3, size, size)``."""
    return torch.randint(256, (batch, 3, size, size), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
