"""The two parts of a backbone with stages: up to the input of its last stage, and from there to the logits."""

from __future__ import annotations

from torch import Tensor

from p2be_exp.backbones.backbone import Backbone


def to_last_stage(backbone: Backbone, features: Tensor) -> Tensor:
    """Stem features ``(B, stem.out_channels, H, W)`` to the input of the last stage, ``(B, C, H', W')``.

    Raises:
        NotImplementedError: the backbone has no stages.
    """
    features = backbone.begin(features)
    for stage in backbone.stage_modules()[:-1]:
        features = stage(features)
    return features


def from_last_stage(backbone: Backbone, features: Tensor) -> Tensor:
    """The input of the last stage to logits ``(B, classes)``.

    Raises:
        NotImplementedError: the backbone has no stages.
    """
    return backbone.end(backbone.stage_modules()[-1](features))
