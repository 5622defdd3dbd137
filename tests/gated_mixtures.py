"""Small adaptive mixtures, and what an attack on one climbs, one image at a time in plain Python floats."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from p2be_exp.backbones import Backbone, StemShape
from p2be_exp.models.adaptive_mixed import AdaptiveMixedClassifier
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.model import EncodedClassifier


class StagedTrunk(Backbone):
    """Two stages without a corner, so that no gradient hangs on rounding."""

    def __init__(self, classes: int, stride: int) -> None:
        super().__init__()
        self.stem = StemShape(out_channels=4, stride=stride)
        self.norm = nn.BatchNorm2d(4)
        self.lower = nn.Sequential(nn.Conv2d(4, 5, 3, padding=1), nn.Tanh())
        self.upper = nn.Sequential(nn.Conv2d(5, 6, 3, stride=2, padding=1), nn.Tanh())
        self.classifier = nn.Linear(6, classes)

    def begin(self, features: Tensor) -> Tensor:
        return torch.tanh(self.norm(features))

    def stage_modules(self) -> list[nn.Module]:
        return [self.lower, self.upper]

    def end(self, features: Tensor) -> Tensor:
        return 8 * self.classifier(features.mean((2, 3)))


def part(encoding, seed: int, classes: int = 10, stride: int = 1) -> EncodedClassifier:
    """One network, in eval mode."""
    torch.manual_seed(seed)
    return EncodedClassifier(encoding, StagedTrunk(classes, stride)).eval()


def gated(accurate, robust, classes: int = 10, stride: int = 1, **settings: Any) -> AdaptiveMixedClassifier:
    """A mixture of two networks in float64 and eval mode, with a gate as if it had been trained.

    Args:
        accurate, robust: encodings of the parts.
        classes, stride: of the parts and their stems.
        settings: of the gate.
    """
    parts = part(accurate, 1, classes, stride), part(robust, 2, classes, stride)
    constants = {"alpha_low": 0.2, "alpha_high": 0.9, "gate_std": 2.0, "gate_mean": 0.5}
    torch.manual_seed(3)
    model = AdaptiveMixedClassifier(*parts, **{**constants, "widths": (4, 8), **settings}).double().eval()
    with torch.no_grad():
        for module in model.gate.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.5, 1.5)
        model.gate.network.linear.weight.mul_(10)  # images of noise are much alike
        first, second = maps_of(model, noise(8))
        raw = model.gate.network(first, second)
        model.gate.norm.running_mean.fill_(raw.mean())
        model.gate.norm.running_var.fill_(raw.var())
    return model


def maps_of(model: AdaptiveMixedClassifier, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """First and second maps of the robust and the accurate part, stage by stage."""
    first, second = [], []
    for each in (model.robust, model.accurate):
        first.append(each.trunk.lower(each.trunk.begin(each.stem(images, each.encoding.table()))))
        second.append(each.trunk.upper(first[-1]))
    return first, second


def noise(batch: int, size: int = 8, seed: int = 0) -> Tensor:
    """Random levels of very different contrast, uint8 ``(batch, 3, size, size)``."""
    generator = torch.Generator().manual_seed(seed)
    contrast = torch.linspace(0.1, 1, batch).view(-1, 1, 1, 1)
    return (128 + 127 * contrast * (2 * torch.rand(batch, 3, size, size, generator=generator) - 1)).to(torch.uint8)


def unconfined(model: Classifier) -> None:
    """The constants with which a gate trains, as those that are deployed."""
    constants = {"gate_std": 2.0, "gate_mean": 0.4, "alpha_low": 0.0, "alpha_high": 1.0}
    for name, value in constants.items():
        getattr(model.gate, name).fill_(value)


def slow_objective(z: list[float], gamma: float, label: int, weight: float, target: int) -> float:
    """What an attack climbs; a negative target stands for the cross-entropy."""
    base = -z[label]
    if target >= 0:
        ordered = sorted(z, reverse=True)
        base = -(z[label] - z[target]) / (ordered[0] - (ordered[2] + ordered[3]) / 2 + 1e-12)
    return (1 - weight) * base + weight * -math.log(1 / (1 + math.exp(-gamma)))
