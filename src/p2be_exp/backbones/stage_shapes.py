"""What the stages of a backbone give: channels and size, found by a forward pass of one image."""

from __future__ import annotations

from typing import NamedTuple

import torch

from p2be_exp.backbones.backbone import Backbone
from p2be_exp.errors import BadInput

_SIDE = 32  # in pixels; a multiple of it where a network takes no image as small as that


class StageShape(NamedTuple):
    """Of a stage's output, ``(B, channels, side, side)``."""

    channels: int
    side: int


@torch.no_grad()
def stage_shapes(backbone: Backbone, size: int) -> list[StageShape]:
    """The shapes that the stages give of images of ``size`` x ``size``; the mode stays as it is.

    Args:
        backbone: a network with stages, on any device, ``meta`` included.
        size: height and width in pixels.
    """
    stem, training = backbone.stem, backbone.training
    side = (size + 2 * stem.padding - stem.kernel_size) // stem.stride + 1
    weight = next(backbone.parameters())
    backbone.eval()
    try:
        found = [backbone.begin(weight.new_zeros(1, stem.out_channels, side, side))]
        for stage in backbone.stage_modules():
            found.append(stage(found[-1]))
    finally:
        backbone.train(training)
    return [StageShape(each.shape[1], each.shape[2]) for each in found[1:]]


def probed_shapes(backbone: Backbone) -> tuple[list[StageShape], int]:
    """Channels of every stage, and how often an image is halved up to the output of the first.

    Args:
        backbone: a network with stages.

    Raises:
        BadInput: the side is not divided by 1, 2, 4, ...
    """
    size = -(-max(backbone.sizes.least, _SIDE) // _SIDE) * _SIDE
    shapes = stage_shapes(backbone, size)
    halvings = (size // shapes[0].side).bit_length() - 1
    if shapes[0].side << halvings != size:
        raise BadInput(
            f"model=fpd: of images of {size} x {size} the first stage of {type(backbone).__name__} gives maps of "
            f"{shapes[0].side} x {shapes[0].side}; must be halved from stage to stage, so that they can be restored"
        )
    return shapes, halvings
