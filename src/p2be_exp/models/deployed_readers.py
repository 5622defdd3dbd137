"""Readers for deployment: features from constant tables and PyTorch's own operators alone."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.encodings.table import LEVELS
from p2be_exp.models.stem import EncodedConv2d, fold

DeployedForm = Literal["lookup", "folded"]


class LookUp(nn.Module):
    """The codes of an image by one look-up.

    Args:
        table: the codes, ``(256, M)``.
        shift: ``(3M,)``, subtracted from the codes; it may differ by colour. None for none.
    """

    table: Tensor
    first_row: Tensor

    def __init__(self, table: Tensor, shift: Tensor | None = None) -> None:
        super().__init__()
        if shift is not None:  # then each colour has a table of its own
            table = (table - shift.view(-1, 1, table.shape[1])).flatten(0, 1)
        self.register_buffer("table", table)
        colours = torch.arange(3, dtype=torch.int32) * (LEVELS if shift is not None else 0)
        self.register_buffer("first_row", colours.to(table.device))

    def forward(self, images: Tensor) -> Tensor:
        """Levels uint8 ``(B, 3, H, W)`` to codes ``(B, 3M, H, W)``."""
        rows = images.permute(0, 2, 3, 1).to(torch.int32) + self.first_row
        return F.embedding(rows, self.table).flatten(3).permute(0, 3, 1, 2)


class LookUpStem(LookUp):
    """The codes of an image by one look-up, and their convolution.

    Args:
        stem: gives weight, bias, shift and geometry.
        table: the codes, ``(256, M)``.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, stem: EncodedConv2d, table: Tensor) -> None:
        super().__init__(table, stem.shift)
        self.stride, self.padding = stem.stride, stem.padding
        self.register_buffer("weight", stem.weight.detach().clone(memory_format=torch.contiguous_format))
        self.register_buffer("bias", None if stem.bias is None else stem.bias.detach().clone())

    def forward(self, images: Tensor) -> Tensor:
        """Levels to features ``(B, out_channels, H', W')``."""
        codes = super().forward(images)
        return F.conv2d(codes, self.weight, self.bias, stride=self.stride, padding=self.padding)


class FoldedStem(nn.Module):
    """A sum of one row for each colour and tap: see :func:`p2be_exp.models.stem.fold`.

    Args:
        stem: gives weight, bias, shift and geometry.
        table: the codes, ``(256, M)``.
    """

    first_row: Tensor
    rows: Tensor
    bias: Tensor | None

    def __init__(self, stem: EncodedConv2d, table: Tensor) -> None:
        super().__init__()
        self.stride, self.padding = stem.stride, stem.padding
        self.kernel_h, self.kernel_w = stem.weight.shape[2:]
        folded = fold(table, stem.weight.detach(), stem.shift)  # (colours * taps, 257, out_channels)
        first_row = torch.arange(len(folded), dtype=torch.int32, device=table.device) * folded.shape[1]
        self.register_buffer("first_row", first_row)
        self.register_buffer("rows", folded.flatten(0, 1).contiguous())
        self.register_buffer("bias", None if stem.bias is None else stem.bias.detach().clone())

    def forward(self, images: Tensor) -> Tensor:
        """Levels to features ``(B, out_channels, H', W')``."""
        levels = F.pad(images.to(torch.int32), (self.padding,) * 4, value=LEVELS)
        windows = levels.unfold(2, self.kernel_h, self.stride).unfold(3, self.kernel_w, self.stride)
        out_h, out_w = windows.shape[2:4]
        bags = windows.permute(0, 2, 3, 1, 4, 5).flatten(3) + self.first_row
        out = F.embedding_bag(bags.flatten(0, 2), self.rows, mode="sum")
        if self.bias is not None:
            out = out + self.bias
        return out.view(images.shape[0], out_h, out_w, self.rows.shape[1]).permute(0, 3, 1, 2)
