"""The common form of all encodings: a table of 256 rows, one code of M values for each level."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from p2be_exp.encodings.kernels import DTYPES, products_serve
from p2be_exp.encodings.look_up import look_up

LEVELS = 256
"""Number of levels of a pixel in one channel."""


class TableEncoding(nn.Module, ABC):
    """An encoding of levels as the rows of a ``(256, M)`` table, shared by the three channels.

    Attributes:
        name: its name in the configuration.
        M: length of a code.
        binary: whether every value is 0 or 1, which bf16 holds exactly.
    """

    name: str
    binary: bool = True

    def __init__(self, M: int) -> None:
        super().__init__()
        if M < 1:
            raise ValueError(f"M={M}: must be 1 or more")
        self.M = M

    @abstractmethod
    def table(self) -> Tensor:
        """The codes of all levels, float ``(256, M)``; differentiable where the encoding learns."""

    def smoothness(self) -> Tensor | None:
        """The loss term that keeps the codes of neighbouring levels similar; None where there is nothing to learn."""
        return None

    def buckets(self) -> Tensor | None:
        """The bucket of every level, int64 ``(256,)``, rising from 0 without gaps; None where levels share no rows.

        Rows that a learned table happens to share do not form a bucket.
        """
        return None

    def forward(self, images: Tensor) -> Tensor:
        """Codes of an image.

        Args:
            images: levels, uint8 ``(B, 3, H, W)``.

        Returns:
            float ``(B, 3M, H, W)`` in channels-last memory; channel ``c * M + m`` is value m of colour c
            (Kishida & Nakayama 2022, Algorithm 1).
        """
        return encode(images, self.table())

    def extra_repr(self) -> str:
        return f"M={self.M}"


def encode(images: Tensor, table: Tensor, cast_to: torch.dtype | None = None) -> Tensor:
    """Replace every level by its row, by one look-up that writes the code tensor in channels-last order.

    Args:
        images: levels, uint8 ``(B, C, H, W)``.
        table: codes, float ``(256, M)``.
        cast_to: what the caller casts the codes to next; a GPU's kernel gives a table that learns these at once.

    Returns:
        float ``(B, C * M, H, W)``, channels-last; channel ``c * M + m``. Gradients reach the table, not the images.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be levels of dtype uint8, found {images.dtype}")
    batch, channels, height, width = images.shape
    rows, dtype = images.permute(0, 2, 3, 1).reshape(-1), cast_to or table.dtype
    if table.requires_grad and dtype in DTYPES and products_serve(images.device):
        codes = look_up(rows, table, dtype)
    else:
        codes = nn.functional.embedding(rows.int(), table)
    return codes.view(batch, height, width, channels * table.shape[1]).permute(0, 3, 1, 2)
