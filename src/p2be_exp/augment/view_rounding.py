"""How an AugMix mixture, which lies between levels, becomes a level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# What is added to a mixture before it is truncated. A mixture that is a whole level but for float32 error
# must stay that level: "floor" needs a guard above that error, which is at most 8e-5 levels for four terms.
_OFFSET = {"floor": 2.0**-13, "nearest": 0.5}
_MAX_LEVEL = 255
_HAIR = 2.0**-10  # of a level: above float error, below the 1/256 by which the first level of a bucket misses its begin


@dataclass(frozen=True)
class Rounding:
    """A rule by which mixtures become levels.

    Attributes:
        to: ``floor`` or ``nearest``. A mixture less than 2**-13 below a whole level counts as that level: float error
            alone can put it there, as when all three chains return the image itself.
        buckets: M, for an encoding of M buckets of the reference code's: ``trunc(x M)`` of a mixture x in [0, 1], at
            most M - 1. A floored mixture that is in the next bucket already gets the next level, so that its code is
            that of the mixture. None: the level is all.

    Raises:
        ValueError: another name, or buckets where mixtures are not floored.
    """

    to: Literal["floor", "nearest"] = "floor"
    buckets: int | None = None

    def __post_init__(self) -> None:
        if self.to not in _OFFSET:
            raise ValueError(f"rounding={self.to!r} is not one of {', '.join(_OFFSET)}")
        if self.buckets is not None and not (self.to == "floor" and 1 <= self.buckets <= _MAX_LEVEL + 1):
            raise ValueError(f"buckets={self.buckets} go with rounding='floor', 1 to {_MAX_LEVEL + 1} of them")

    def levels(self, mixture: Tensor) -> Tensor:
        """Levels uint8 of mixtures, float32 in 0..255, which are overwritten."""
        if self.buckets is None:
            return mixture.add_(_OFFSET[self.to]).to(torch.int32).to(torch.uint8)  # by way of int32: faster
        floored = (mixture + _OFFSET[self.to]).to(torch.int32)
        bucket = mixture.mul_(self.buckets / _MAX_LEVEL).floor_()  # M at 255 alone, which it leaves where it is
        first = bucket.mul_(_MAX_LEVEL / self.buckets).sub_(_HAIR).ceil_()  # the lowest level of the bucket
        return torch.maximum(floored, first.to(torch.int32)).to(torch.uint8)
