"""The first convolution of a network, on an encoded image, without the detour over the code tensor where that pays.

The convolution of the codes is linear in the table. Folding table and weight gives, for each colour and kernel tap, a
table of 256 rows with ``out_channels`` values; the output is a sum of ``3 * kh * kw`` of its rows, and no tensor of
``3M`` channels is ever built. On a GPU look-up and convolution can be one kernel (:mod:`p2be_exp.models.fused_stem`).
Which form is taken where: :mod:`p2be_exp.models.stem_form`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from types import EllipsisType
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.encodings.table import LEVELS, TableEncoding, encode
from p2be_exp.models.fused_stem import fused_conv2d
from p2be_exp.models.stem_form import StemForm, chosen_form, fusible

StemInit = Literal["he", "pytorch"]

_ROWS = LEVELS + 1  # one row of zeros for the padding
_CHUNK_BYTES = 4 << 20  # gradient rows of a few images at a time stay in the cache


class EncodedConv2d(nn.Module):
    """``conv2d(encoding(images) - shift, weight, bias)``; the padding is zeros after the shift.

    Args:
        encoding: gives the table; it is not registered here, the model owns it.
        out_channels, kernel_size, stride, padding: those of the convolution (square kernels).
        bias: whether it has one; it starts as PyTorch's does, uniform within 1 / sqrt(3M kh kw).
        init: of the weight. ``he``: N(0, 2 / (kh * kw * out_channels)), whatever M is; ``pytorch``: PyTorch's own,
            uniform within 1 / sqrt(3M kh kw).
        shift: ``(3M,)``, subtracted from the codes before they are padded with zeros; for weights that were trained on
            images with their mean subtracted. None for none.
        form: ``lookup`` builds the codes by one channels-last look-up and convolves them; ``folded`` folds table and
            weight; ``fused`` does both at once in a kernel for GPUs, and is ``lookup`` where that kernel does not serve
            (:func:`~p2be_exp.models.stem_form.fusible`); ``auto`` follows the rule of
            :mod:`~p2be_exp.models.stem_form`. All give the same result and gradients.

    Attributes:
        weight: ``(out_channels, 3M, kh, kw)``, the weight of the plain convolution.
        bias: ``(out_channels,)`` or None.
        shift: a buffer, or None.
    """

    shift: Tensor | None

    def __init__(
        self,
        encoding: TableEncoding,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        *,
        bias: bool = False,
        init: StemInit = "he",
        shift: Tensor | None = None,
        form: StemForm = "auto",
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.form = stride, padding, form
        self.binary = encoding.binary and shift is None
        self.weight = nn.Parameter(torch.empty(out_channels, 3 * encoding.M, kernel_size, kernel_size))
        bound = 1 / math.sqrt(self.weight[0].numel())
        if init == "he":
            nn.init.normal_(self.weight, std=math.sqrt(2 / (kernel_size * kernel_size * out_channels)))
        else:
            nn.init.uniform_(self.weight, -bound, bound)
        self.bias = nn.Parameter(torch.empty(out_channels).uniform_(-bound, bound)) if bias else None
        self.register_buffer("shift", shift)

    def forward(self, images: Tensor, table: Tensor) -> Tensor:
        """Levels uint8 ``(B, 3, H, W)`` and a table ``(256, M)`` to features ``(B, out_channels, H', W')``."""
        form = chosen_form(images.device, table.shape[1]) if self.form == "auto" else self.form
        if torch.jit.is_tracing():  # a trace can hold no function of Python's, which the other forms are
            form = "lookup"
        if form == "folded":
            return folded_conv2d(images, table, self.weight, self.stride, self.padding, self.bias, self.shift)
        if form == "fused" and self._fusible(images, table):
            return self._fused(images, table)
        return self.convolve(encode(images, table, self._dtype(images, table)), self.binary)

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
        bias = None if self.bias is None else self.bias.to(codes.dtype)
        if self.shift is not None:
            codes = codes - self.shift.to(codes.dtype).view(-1, 1, 1)
        lowered = binary and torch.is_autocast_enabled(codes.device.type)
        with torch.autocast(codes.device.type, enabled=lowered):
            return F.conv2d(codes, weight, bias, stride=self.stride, padding=self.padding)

    def _dtype(self, images: Tensor, table: Tensor) -> torch.dtype:
        """What :meth:`convolve` computes codes of the table in."""
        device = images.device.type
        lowered = self.binary and torch.is_autocast_enabled(device)
        return torch.get_autocast_dtype(device) if lowered else table.dtype

    def _fusible(self, images: Tensor, table: Tensor) -> bool:
        shape = self.weight.shape[2], self.stride, self.padding
        whole = table.dtype == self.weight.dtype == torch.float32
        return whole and fusible(images.device, self._dtype(images, table), *shape, shifted=self.shift is not None)

    def _fused(self, images: Tensor, table: Tensor) -> Tensor:
        features = fused_conv2d(images, table, self.weight, self._dtype(images, table))
        return features if self.bias is None else features + self.bias.to(features.dtype).view(-1, 1, 1)

    def extra_repr(self) -> str:
        out_channels, in_channels, kernel, _ = self.weight.shape
        shape = f"{in_channels}, {out_channels}, kernel_size={kernel}, stride={self.stride}, padding={self.padding}"
        more = [name for name in ("bias", "shift") if getattr(self, name) is not None]
        return ", ".join([shape, *(f"{name}=True" for name in more)])


def folded_conv2d(
    images: Tensor,
    table: Tensor,
    weight: Tensor,
    stride: int = 1,
    padding: int = 0,
    bias: Tensor | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """The convolution of an encoded image by folding table and weight.

    Args:
        images: levels, uint8 ``(B, 3, H, W)``.
        table: codes ``(256, M)``.
        weight: ``(out_channels, 3M, kh, kw)``.
        stride, padding: as of ``conv2d``; the padding is zeros in code space.
        bias: ``(out_channels,)``.
        shift: ``(3M,)``, subtracted from the codes.

    Returns:
        ``(B, out_channels, H', W')`` in channels-last memory. Values and gradients (to table, weight and bias) are
        those of ``conv2d(encode(images, table) - shift, weight, bias)``.
    """
    with torch.autocast(images.device.type, enabled=False):
        folded = fold(table, weight, shift)
        out = _SumOfRows.apply(images, folded, weight.shape[2:], stride, padding)
        if bias is not None:
            out = out + bias
    return out.permute(0, 3, 1, 2)


def fold(table: Tensor, weight: Tensor, shift: Tensor | None = None) -> Tensor:
    """What each level contributes to an output pixel, by colour and tap; and, in a last row, what the padding does.

    Args:
        table, weight, shift: see :func:`folded_conv2d`.

    Returns:
        ``(colours * kh * kw, 257, out_channels)``, colour slowest. An output pixel is the sum of one row of each, and
        of the bias.
    """
    out_channels, in_channels, kernel_h, kernel_w = weight.shape
    M = table.shape[1]
    colours = in_channels // M
    taps = weight.view(out_channels, colours, M, kernel_h, kernel_w)
    if shift is None:
        # One product of two matrices: of more dimensions, matmul takes another kernel where no gradient is wanted.
        taps = taps.permute(2, 1, 3, 4, 0).reshape(M, -1)
        folded = (table @ taps).view(len(table), -1, out_channels).transpose(0, 1)
    else:
        taps = taps.permute(1, 3, 4, 2, 0).reshape(colours * kernel_h * kernel_w, M, out_channels)
        shifted = table - shift.view(colours, 1, M)
        folded = shifted.repeat_interleave(kernel_h * kernel_w, dim=0) @ taps
    return F.pad(folded, (0, 0, 0, 1))


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
        bags = windows.permute(0, 2, 3, 1, 4, 5).reshape(batch * out_h * out_w, len(first_row))
        out = F.embedding_bag(bags, folded.reshape(-1, folded.shape[2]), mode="sum")
        return out.view(batch, out_h, out_w, folded.shape[2])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, Tensor, None, None, None]:
        (images,) = ctx.saved_tensors
        out_channels = grad.shape[3]
        sums = grad.new_zeros(images.shape[1], _ROWS, *ctx.kernel, out_channels)
        for phase in phases(grad, images.shape[2:], ctx.kernel, ctx.stride, ctx.padding):
            summed = _summed_by_level(phase.windows, images[phase.pixels])
            sums[(slice(None), slice(None), *phase.taps)] = summed.flip(2, 3)
        return None, sums.permute(0, 2, 3, 1, 4).reshape(-1, _ROWS, out_channels), None, None, None


def _summed_by_level(windows: Tensor, images: Tensor) -> Tensor:
    """Sum of the windows ``(B, H, W, ...)`` at the pixels of each colour and level: ``(colours, 257, ...)``."""
    batch, colours, height, width = images.shape
    sums = windows.new_zeros(colours, _ROWS, windows.shape[3:].numel())
    size = max(1, _CHUNK_BYTES // (height * width * sums.shape[2] * windows.element_size()))
    for start in range(0, batch, size):
        part = slice(start, start + size)
        levels = images[part].int()
        rows = windows[part].reshape(len(levels) * height * width, sums.shape[2])
        for colour in range(colours):
            sums[colour].index_add_(0, levels[:, colour].reshape(-1), rows)
    return sums.unflatten(2, windows.shape[3:])


class Phase(NamedTuple):
    """The input pixels that meet the same taps: those at one remainder of the stride, by row and column.

    Attributes:
        pixels: index of an image batch ``(B, C, H, W)`` that takes them, ``h`` rows and ``w`` columns.
        taps: their rows and columns of the kernel, as slices of it.
        windows: ``(B, h, w, taps, taps, O)``, for each pixel the output gradients that it meets, taps in descending
            order; a view.
    """

    pixels: tuple[slice | EllipsisType, ...]
    taps: tuple[slice, slice]
    windows: Tensor


def phases(grad: Tensor, size: tuple[int, int], kernel: tuple[int, int], stride: int, padding: int) -> Iterator[Phase]:
    """The way back through a convolution without the zeros that a stride would put between the output gradients.

    Args:
        grad: of the output, ``(B, H', W', O)``.
        size: height and width of the input.
        kernel, stride, padding: of the convolution.

    Yields:
        ``stride ** 2`` phases at most; a pixel that no window covers is in none of them.
    """
    axes = [
        [_Axis.of(phase, n, out, k, stride, padding) for phase in range(min(stride, k))]
        for n, out, k in zip(size, grad.shape[1:3], kernel, strict=True)
    ]
    for y, x in itertools.product(*axes):
        if y.count and x.count:
            around = F.pad(grad, (0, 0, *x.pad, *y.pad))
            # Sizes of one unfold are the numbers of pixels, so that the window's dimensions are the kernel's.
            windows = around.unfold(1, y.count, 1).unfold(2, x.count, 1).permute(0, 4, 5, 1, 2, 3)
            yield Phase((..., y.pixels, x.pixels), (y.taps, x.taps), windows)


class _Axis(NamedTuple):
    """One phase along rows or columns: its pixels, their number, its taps, zeros to put before and after the gradients.

    A pixel p, at q * stride + phase once padded, meets tap phase + j * stride of output q - j.
    """

    pixels: slice
    count: int  # type: ignore[assignment]  # not the method of a tuple
    taps: slice
    pad: tuple[int, int]

    @classmethod
    def of(cls, phase: int, size: int, out: int, kernel: int, stride: int, padding: int) -> _Axis:
        first = -((phase - padding) // stride)  # q of the first pixel that is not padding
        pixels = slice(first * stride + phase - padding, size, stride)
        count, taps = len(range(pixels.start, size, stride)), len(range(phase, kernel, stride))
        return cls(pixels, count, slice(phase, kernel, stride), (taps - 1 - first, first + count - out))
