"""What a part of a mixture has between its stages: its logits together with two feature maps, by one pass."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from p2be_exp.models.classifier import Classifier


class Staged(Protocol):
    """What can be taken apart: see :class:`~p2be_exp.backbones.backbone.Backbone`."""

    def begin(self, features: Tensor) -> Tensor:
        """To the input of the first stage."""

    def stage_modules(self) -> list[nn.Module]:
        """The stages, two or more."""

    def end(self, features: Tensor) -> Tensor:
        """To logits."""


def staged_body(part: Classifier) -> Staged:
    """The network that a classifier's body is: a trunk behind a stem, or all of it behind its reader."""
    return cast("Staged", part.trunk if hasattr(part, "trunk") else part.network)


def logits_and_maps(part: Classifier, *features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The logits of a classifier, and the outputs of its first and of its second stage.

    Args:
        part: whose body is one network with stages.
        features: what its one reader read.
    """
    network = staged_body(part)
    (found,) = features
    found, maps = network.begin(found), []
    for stage in network.stage_modules():
        found = stage(found)
        maps.append(found)
    return network.end(found), maps[0], maps[1]


@torch.no_grad()
def map_channels(part: Classifier, size: int = 32) -> tuple[int, int]:
    """Numbers of channels of the two maps, of images of ``size`` pixels; the part is in eval mode."""
    levels = torch.zeros(1, 3, size, size, dtype=torch.uint8)
    network = staged_body(part)
    found, channels = network.begin(*part.read(levels)), []
    for stage in network.stage_modules()[:2]:
        found = stage(found)
        channels.append(found.shape[1])
    return channels[0], channels[1]
