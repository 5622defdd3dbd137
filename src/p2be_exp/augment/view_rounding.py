"""Rounding of AugMix mixtures, which lie between levels, to levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# Added to a mixture before it is truncated. A mixture that is a whole level up to float32 error must stay that
# level: "floor" needs a guard above that error, which is at most 8e-5 levels for four terms.
OFFSET = {"floor": 2.0**-13, "nearest": 0.5}
MAX_LEVEL = 255
GUARD = 2.0**-10  # levels: above float error, below 1/256, the least gap between a bucket's start and its first level


@dataclass(frozen=True)
class Rounding:
    """A rule for rounding mixtures to levels.

    Attributes:
        to: ``floor`` or ``nearest``. A mixture less than 2**-13 below a whole level counts as that level: float
            error alone can cause this, for instance when all three chains return the image itself.
        buckets: M, for an encoding with the reference code's M buckets: ``trunc(x M)`` of a mixture x in [0, 1], at
            most M - 1. A mixture that is already in the next bucket but floored to a level below it gets the next
            level, so that its code is that of the mixture. None: buckets play no part.

    Raises:
        ValueError: an unknown rule, or buckets with a rule other than ``floor``.
    """

    to: Literal["floor", "nearest"] = "floor"
    buckets: int | None = None

    def __post_init__(self) -> None:
        if self.to not in OFFSET:
            raise ValueError(f"rounding={self.to!r}: must be one of {', '.join(OFFSET)}")
        if self.buckets is not None and not (self.to == "floor" and 1 <= self.buckets <= MAX_LEVEL + 1):
            raise ValueError(f"buckets={self.buckets}: must be between 1 and {MAX_LEVEL + 1}, with rounding='floor'")

    def levels(self, mixture: Tensor) -> Tensor:
        """Levels, uint8, of mixtures, float32 in 0..255, which are overwritten."""
        if self.buckets is None:
            return mixture.add_(OFFSET[self.to]).to(torch.int32).to(torch.uint8)  # through int32: faster
        floored = (mixture + OFFSET[self.to]).to(torch.int32)
        bucket = mixture.mul_(self.buckets / MAX_LEVEL).floor_()  # M only at 255, whose level does not change
        first = bucket.mul_(MAX_LEVEL / self.buckets).sub_(GUARD).ceil_()  # the lowest level of the bucket
        return torch.maximum(floored, first.to(torch.int32)).to(torch.uint8)
