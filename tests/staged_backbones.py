"""The backbones with stages, for tests of what reads or changes the features between them."""

from __future__ import annotations

import torch
from torch import Tensor

from p2be_exp.backbones import Backbone, build_backbone
from p2be_exp.registry import staged_backbones

STAGED = tuple(staged_backbones())
"""Names of this package's backbones that have stages."""


def image_side(name: str) -> int:
    """Height and width in pixels of the images that a backbone is tested on: the smallest that are usual for it."""
    return 64 if name == "resnet50" else 32


def seeded(name: str, classes: int = 7, **settings) -> Backbone:
    """A backbone with the weights of seed 0, channels-last as in a training."""
    torch.manual_seed(0)
    return build_backbone(name, classes, **settings).to(memory_format=torch.channels_last)


def features_for(trunk: Backbone, side: int, batch: int = 2) -> Tensor:
    """Normal numbers in place of what the stem gives for images of ``side`` x ``side``, channels-last."""
    stem = trunk.stem
    out = (side + 2 * stem.padding - stem.kernel_size) // stem.stride + 1
    features = torch.randn(batch, stem.out_channels, out, out, generator=torch.Generator().manual_seed(0))
    return features.to(memory_format=torch.channels_last)
