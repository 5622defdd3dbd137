"""The first convolution of a network, on an encoded image, without the detour over the code tensor where that pays.

The convolution of the codes is linear in the table. Folding table and weight gives, for each colour and kernel tap, a
table of 256 rows with ``out_channels`` values; the output is a sum of ``3 * kh * kw`` of its rows, and no tensor of
``3M`` channels is ever built.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.encodings.table import LEVELS, TableEncoding, encode

StemForm = Literal["auto", "lookup", "folded"]

_ROWS = LEVELS + 1  # one row of zeros for the padding
_FOLD_FROM_M = 16  # on CPU; benchmarks/stem.py: below it, the look-up is at least as fast
_CHUNK_BYTES = 4 << 20  # gradient rows of a few images at a time stay in the cache


class EncodedConv2d(nn.Module):
    """``conv2d(encoding(images), weight)`` without bias.

    Args:
        encoding: gives the table; it is not registered here, the model owns it.
        out_channels, kernel_size, stride, padding: those of the convolution (square kernels).
        form: ``lookup`` builds the codes by one channels-last look-up and convolves them; ``folded`` folds table and
            weight; ``auto`` takes the faster of the two for the device and M. All give the same result and gradients.

    Attributes:
        weight: ``(out_channels, 3M, kh, kw)``, the weight of the plain convolution.
    """

    def __init__(
        self,
        encoding: TableEncoding,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        form: StemForm = "auto",
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.form = stride, padding, form
        self.binary = encoding.binary
        self.weight = nn.Parameter(torch.empty(out_channels, 3 * encoding.M, kernel_size, kernel_size))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (kernel_size * kernel_size * out_channels)))

    def forward(self, images: Tensor, table: Tensor) -> Tensor:
        """Levels uint8 ``(B, 3, H, W)`` and a table ``(256, M)`` to features ``(B, out_channels, H', W')``."""
        if self._folds(images, table):
            return folded_conv2d(images, table, self.weight, self.stride, self.padding)
        return self.convolve(encode(images, table), self.binary)

    def convolve(self, codes: Tensor, binary: bool = False) -> Tensor:
        """Features of codes that are already there.

        Under autocast, codes that are not binary stay in full precision: bf16 has 8 significant bits, too few to tell
        the brighter levels of RGB apart, which would put the baseline at a disadvantage, and too few for codes that an
        attack relaxed.

        Args:
            codes: ``(B, 3M, H, W)``.
            binary: whether all of them are 0 or 1.
        """
        weight = self.weight.to(codes.dtype).contiguous(memory_format=torch.channels_last)
        lowered = binary and torch.is_autocast_enabled(codes.device.type)
        with torch.autocast(codes.device.type, enabled=lowered):
            return F.conv2d(codes, weight, stride=self.stride, padding=self.padding)

    def _folds(self, images: Tensor, table: Tensor) -> bool:
        if self.form != "auto":
            return self.form == "folded"
        return images.device.type == "cpu" and table.shape[1] >= _FOLD_FROM_M

    def extra_repr(self) -> str:
        out_channels, in_channels, kernel, _ = self.weight.shape
        return f"{in_channels}, {out_channels}, kernel_size={kernel}, stride={self.stride}, padding={self.padding}"


def folded_conv2d(images: Tensor, table: Tensor, weight: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """The convolution of an encoded image by folding table and weight.

    Args:
        images: levels, uint8 ``(B, 3, H, W)``.
        table: codes ``(256, M)``.
        weight: ``(out_channels, 3M, kh, kw)``.
        stride, padding: as of ``conv2d``; the padding is zeros in code space.

    Returns:
        ``(B, out_channels, H', W')`` in channels-last memory. Values and gradients (to table and weight) are those of
        ``conv2d(encode(images, table), weight)``.
    """
    out_channels, in_channels, kernel_h, kernel_w = weight.shape
    M = table.shape[1]
    channels = in_channels // M
    taps = weight.view(out_channels, channels, M, kernel_h, kernel_w).permute(1, 3, 4, 2, 0)
    with torch.autocast(images.device.type, enabled=False):
        folded = table @ taps.reshape(channels * kernel_h * kernel_w, M, out_channels)
    folded = F.pad(folded, (0, 0, 0, 1))  # the row of the padding
    out = _SumOfRows.apply(images, folded, (kernel_h, kernel_w), stride, padding)
    return out.permute(0, 3, 1, 2)


class _SumOfRows(torch.autograd.Function):
    """Output pixel = sum over colours and taps of the folded row of the level under the tap."""

    @staticmethod
    def forward(ctx, images: Tensor, folded: Tensor, kernel: tuple[int, int], stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(images)
        ctx.kernel, ctx.stride, ctx.padding = kernel, stride, padding
        kernel_h, kernel_w = kernel
        batch, channels = images.shape[:2]
        levels = F.pad(images.int(), (padding,) * 4, value=LEVELS)
        windows = levels.unfold(2, kernel_h, stride).unfold(3, kernel_w, stride)
        out_h, out_w = windows.shape[2:4]
        first_row = torch.arange(folded.shape[0], dtype=torch.int32, device=images.device) * _ROWS
        windows = windows + first_row.view(channels, 1, 1, kernel_h, kernel_w)
        bags = windows.permute(0, 2, 3, 1, 4, 5).reshape(batch * out_h * out_w, -1)
        out = F.embedding_bag(bags, folded.reshape(-1, folded.shape[2]), mode="sum")
        return out.view(batch, out_h, out_w, -1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, Tensor, None, None, None]:
        (images,) = ctx.saved_tensors
        kernel_h, kernel_w = ctx.kernel
        batch, channels, height, width = images.shape
        out_channels = grad.shape[3]
        spread = _spread(grad, images.shape[2:], ctx.kernel, ctx.stride, ctx.padding)
        sums = grad.new_zeros(channels, _ROWS, kernel_h * kernel_w * out_channels)
        size = max(1, _CHUNK_BYTES // (height * width * sums.shape[2] * grad.element_size()))
        for start in range(0, batch, size):
            part, levels = spread[start : start + size], images[start : start + size].int()
            # For each input pixel the output gradients that it meets, taps in descending order.
            rows = part.unfold(1, height, 1).unfold(2, width, 1).permute(0, 4, 5, 1, 2, 3)
            rows = rows.reshape(len(part) * height * width, -1)
            for channel in range(channels):
                sums[channel].index_add_(0, levels[:, channel].reshape(-1), rows)
        sums = sums.view(channels, _ROWS, kernel_h, kernel_w, out_channels).flip(2, 3)
        return None, sums.permute(0, 2, 3, 1, 4).reshape(-1, _ROWS, out_channels), None, None, None


def _spread(grad: Tensor, size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: int) -> Tensor:
    """Output gradient ``(B, H', W', O)`` laid out so that the window at input pixel (y, x) holds what (y, x) gave to.

    Zeros are put between its pixels for a stride, and around it; result ``(B, H + kh - 1, W + kw - 1, O)``.
    """
    batch, out_h, out_w, out_channels = grad.shape
    extent = [n + k - 1 for n, k in zip(size, kernel, strict=True)]
    spread = grad.new_zeros(batch, *[n + 2 * padding for n in extent], out_channels)
    top, left = kernel[0] - 1, kernel[1] - 1
    spread[:, top : top + out_h * stride : stride, left : left + out_w * stride : stride] = grad
    return spread[:, padding : padding + extent[0], padding : padding + extent[1]]
