"""A network with a known way to break it, which an attack that works has to find."""

from __future__ import annotations

import torch
from torch import Tensor

from p2be_exp.attacks.ball import bounds
from p2be_exp.backbones import Backbone, StemShape
from p2be_exp.encodings import TableEncoding
from p2be_exp.models.model import EncodedClassifier

PLANTED_LOGIT = 2.0
"""Logit of class 1 where the image is moved all the way; at the image it is minus this."""


def planted_network(encoding: TableEncoding, image: Tensor, eps_levels: int) -> EncodedClassifier | None:
    """A network that is right (class 0 of 10) about one image until the mean of what it reads rises halfway.

    Its logit of class 1 is -2 at the image and 2 where each value is at the better end of the ball; it is linear in the
    codes. None where the codes at the ends are no better than the image's.
    """
    with torch.no_grad():
        table = encoding.table()
        weight = _readout(table)
        reading = table.double() @ weight
        low, high = (reading[end.long()] for end in bounds(image, eps_levels))
        here, best = reading[image.long()].mean(), torch.maximum(low, high).mean()
    if not best - here > 1e-6:
        return None
    network = EncodedClassifier(encoding, _PlantedTrunk(float(here), float(best))).to(table)
    with torch.no_grad():
        network.stem.weight.copy_((weight / 3).repeat(3)[None, :, None, None])
    return network


def _readout(table: Tensor) -> Tensor:
    """Weights ``(M,)`` with which the codes come closest to the level, from 0 to 1, up to a constant."""
    codes = table.double()
    levels = torch.linspace(0, 1, len(table), dtype=torch.float64, device=table.device)
    return torch.linalg.pinv(codes - codes.mean(0)) @ (levels - levels.mean())


class _PlantedTrunk(Backbone):
    """Logits ``(B, 10)`` from the mean of one feature: class 0 below the middle of two readings, class 1 above."""

    stem = StemShape(out_channels=1, kernel_size=1, padding=0)

    def __init__(self, here: float, best: float) -> None:
        super().__init__()
        self.middle, self.scale = (here + best) / 2, 2 * PLANTED_LOGIT / (best - here)

    def forward(self, features: Tensor) -> Tensor:
        """See :class:`Backbone`."""
        raised = self.scale * (features.mean((1, 2, 3)) - self.middle)
        others = torch.full_like(raised, -2 * PLANTED_LOGIT)
        return torch.stack([torch.zeros_like(raised), raised, *[others] * 8], 1)
