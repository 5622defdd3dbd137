"""A small network with stages, and Feature Pyramid Decoders around it or around another one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from p2be_exp.backbones import Backbone, StemShape
from p2be_exp.encodings import RGB, TableEncoding
from p2be_exp.models.pyramid import PyramidClassifier

PARTS = {"tanh": True, "denoise": True, "image_denoise": True, "restoration": True}
OFF = dict.fromkeys(PARTS, False)


class Small(Backbone):
    """Two stages, with batch norms or without; the image is halved once, in the stem. Nothing has a corner."""

    stem = StemShape(out_channels=4, stride=2)

    def __init__(self, classes: int = 4, norms: bool = False) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) if norms else nn.Identity() for channels in (4, 6, 8))
        self.lower, self.upper = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.classifier: nn.Module = nn.Linear(8, classes)

    def begin(self, features: Tensor) -> Tensor:
        return torch.tanh(self.norms[0](features))

    def stage_modules(self) -> list[nn.Module]:
        return [
            nn.Sequential(self.lower, self.norms[1], nn.Tanh()),
            nn.Sequential(self.upper, self.norms[2], nn.Tanh()),
        ]

    def end(self, features: Tensor) -> Tensor:
        return self.classifier(features.mean((2, 3)))


def fpd(
    encoding: TableEncoding | None = None,
    backbone: Backbone | None = None,
    width: int = 8,
    dropout: float = 0.0,
    seed: int = 0,
    statistics: str = "shared",
    **parts: bool,
) -> PyramidClassifier:
    """With every part that is not switched off; without a backbone the small one, without batch norms."""
    torch.manual_seed(seed)
    keys = {**PARTS, "statistics": statistics, **parts}
    return PyramidClassifier(encoding or RGB(), backbone or Small(), width, dropout, **keys)


def images(batch: int = 3, size: int = 8, seed: int = 0) -> Tensor:
    """Random levels, uint8 ``(batch, 3, size, size)``."""
    return torch.randint(256, (batch, 3, size, size), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)
