"""P2BE: a binary table that is learned with the network."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from p2be_exp.encodings.buckets import OneHot, Thermometer
from p2be_exp.encodings.sign import binarize
from p2be_exp.encodings.smoothness import smoothness_mean, smoothness_sum
from p2be_exp.encodings.table import LEVELS, TableEncoding

Init = Literal["normal", "onehot", "thermometer"]
Smoothness = Literal["mean", "sum"]


class P2BE(TableEncoding):
    """Codes that are the signs of a learned latent table.

    Args:
        M: bits per code.
        smoothness: ``mean``, the reference code's loss, or ``sum``, the paper's Eq. 9; see
            :mod:`~p2be_exp.encodings.smoothness`.
        init: ``normal`` draws N(0, 1); ``onehot`` and ``thermometer`` start from those codes, minus 0.5.
        slope_at_zero: see :func:`~p2be_exp.encodings.sign.approximate_sign`.
        fixed: the table gets no gradient (a table that was learned elsewhere, the paper's Table VII).

    Source: Kishida & Nakayama 2022, section III and Algorithm 1; the other initialisations from the reference code.
    """

    name = "p2be"

    def __init__(
        self,
        M: int,
        smoothness: Smoothness,
        init: Init,
        slope_at_zero: float,
        fixed: bool = False,
    ) -> None:
        super().__init__(M)
        self.smoothness_form = smoothness
        self.slope_at_zero = slope_at_zero
        self.weight = nn.Parameter(initial_latent(M, init), requires_grad=not fixed)

    @classmethod
    def from_settings(cls, table_from: str | None, **settings: Any) -> P2BE:
        """A table from the keys of its schema; one from another run is fixed, and its values remain to be loaded."""
        return cls(fixed=table_from is not None, **settings)

    def table(self) -> Tensor:
        """The bits of all levels, 0 or 1, float ``(256, M)``; the gradient is the approximate sign's."""
        return binarize(self.weight, self.slope_at_zero)

    def smoothness(self) -> Tensor:
        """The smoothness loss of the latent table (not of its bits), a scalar, before its weight lambda."""
        form = {"mean": smoothness_mean, "sum": smoothness_sum}[self.smoothness_form]
        return form(self.weight)

    def extra_repr(self) -> str:
        return f"M={self.M}, smoothness={self.smoothness_form}, fixed={not self.weight.requires_grad}"


def initial_latent(M: int, init: Init) -> Tensor:
    """The latent table before training, float ``(256, M)``.

    For ``onehot`` and ``thermometer`` row k takes the code of ``floor(k * M / 256)`` of an M x M table (nearest
    interpolation, which is not quite the bucket of the encoding of that name), minus 0.5.
    """
    if init == "normal":
        return torch.randn(LEVELS, M)
    codes = {"onehot": OneHot, "thermometer": Thermometer}[init].bucket_codes(M)
    return codes[torch.arange(LEVELS) * M // LEVELS] - 0.5
