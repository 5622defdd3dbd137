"""Backbones by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from p2be_exp.backbones.backbone import Backbone, StemShape
from p2be_exp.backbones.wide_resnet import WideResNet

__all__ = ["Backbone", "StemShape", "WideResNet", "build_backbone", "list_backbones"]

_BACKBONES: dict[str, Callable[..., Backbone]] = {
    "wrn40_2": partial(WideResNet, depth=40, widen=2),
    "wrn16_1": partial(WideResNet, depth=16, widen=1),
}


def list_backbones() -> list[str]:
    """Names of the backbones that there are."""
    return sorted(_BACKBONES)


def build_backbone(name: str, num_classes: int) -> Backbone:
    """A freshly initialised backbone; its stem is the model's to build from ``backbone.stem``."""
    return _BACKBONES[name](num_classes=num_classes)
