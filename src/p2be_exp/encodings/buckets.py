"""Encodings whose levels share rows: M buckets of neighbouring levels, as one-hot or as thermometer codes."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from p2be_exp.encodings.table import LEVELS, TableEncoding


def bucket_of_level(M: int) -> Tensor:
    """Bucket of each level, int64 ``(256,)``: ``min(floor(k * M / 255), M - 1)``, in integer arithmetic.

    The last bucket includes level 255 although 255 * M / 255 is M, as in the reference code and Table I of the paper.
    (Read literally, the paper's Eq. 1 and 2 would set every bit at 255.)
    """
    return (torch.arange(LEVELS) * M // 255).clamp(max=M - 1)


class _Buckets(TableEncoding):
    """A constant table in which bucket j is row j of an ``(M, M)`` table of codes."""

    codes: Tensor

    def __init__(self, M: int) -> None:
        super().__init__(M)
        if M > LEVELS:
            raise ValueError(f"M={M}: must be at most {LEVELS}, one bucket per level")
        self.register_buffer("codes", self.bucket_codes(M)[bucket_of_level(M)], persistent=False)

    @staticmethod
    @abstractmethod
    def bucket_codes(M: int) -> Tensor:
        """The codes of the buckets, float ``(M, M)``."""

    def table(self) -> Tensor:
        """The constant codes, float ``(256, M)``."""
        return self.codes

    def buckets(self) -> Tensor:
        """See :func:`bucket_of_level`."""
        return bucket_of_level(self.M)


class OneHot(_Buckets):
    """The code of bucket j is a single one at position j (Buckman et al. 2018; Kishida & Nakayama 2022, Eq. 1)."""

    name = "onehot"

    @staticmethod
    def bucket_codes(M: int) -> Tensor:
        """The identity, float ``(M, M)``."""
        return torch.eye(M)


class Thermometer(_Buckets):
    """The code of bucket j is ones from position j to the end: many for dark levels (Kishida & Nakayama 2022, Eq. 2).

    Buckman et al. 2018 fill from the other end; the two differ by the order of the bits and by complement.
    """

    name = "thermometer"

    @staticmethod
    def bucket_codes(M: int) -> Tensor:
        """The upper triangle of ones, float ``(M, M)``."""
        return torch.ones(M, M).triu()
