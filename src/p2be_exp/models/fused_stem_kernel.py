"""Look-up and first convolution as one Triton kernel: levels in, features out, no code tensor in memory.

The codes of a tile of pixels go from the table (32 or 64 KiB at M = 64, which a GPU's first cache holds) straight into
the product with the weight of a colour and tap.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from p2be_exp.encodings.kernels import tile

_CHANNELS = 64  # the sides of a tile at most, and of values:
_VALUES = {torch.float32: 32, torch.bfloat16: 64}  # as many as leave the registers of compute capability 8.0 enough


def fused_convolution(images: Tensor, table: Tensor, packed: Tensor, kernel: int) -> Tensor:
    """See :mod:`p2be_exp.models.fused_stem`.

    Args:
        images: levels, uint8 ``(B, C, H, W)``.
        table: ``(256, M)``, float32 or bfloat16.
        packed: the weight ``(C, kernel * kernel, M, out_channels)``, of the table's type.
        kernel: side of the window.

    Returns:
        ``(B, H, W, out_channels)``, of that type.
    """
    batch, colours, height, width = images.shape
    M, out_channels = packed.shape[2:]
    pixels = batch * height * width
    out = torch.empty(batch, height, width, out_channels, dtype=table.dtype, device=images.device)
    settings = constants(colours, M, out_channels, kernel, table.dtype)
    grid = (triton.cdiv(pixels, settings["PIXELS"]), triton.cdiv(out_channels, settings["CHANNELS"]))
    if pixels:
        tensors = (images.contiguous(), table.contiguous(), packed.contiguous(), out)
        _fused_convolution[grid](*tensors, pixels, height, width, **settings)
    return out


def constants(colours: int, M: int, out_channels: int, kernel: int, dtype: torch.dtype) -> dict[str, Any]:
    """What the kernel is compiled for: the sizes of :func:`fused_convolution`, and those of its tiles."""
    channels = min(_CHANNELS, tile(out_channels))
    return {
        "COLOURS": colours,
        "M": M,
        "OUT": out_channels,
        "KERNEL": kernel,
        "PIXELS": 128 if channels <= 32 else 64,
        "VALUES": min(_VALUES[dtype], tile(M)),
        "CHANNELS": channels,
        "PRECISION": "tf32" if torch.backends.cudnn.allow_tf32 else "ieee",
    }


@triton.jit
def _fused_convolution(
    images,
    table,
    weight,
    out,
    pixels,
    height,
    width,
    COLOURS: tl.constexpr,
    M: tl.constexpr,
    OUT: tl.constexpr,
    KERNEL: tl.constexpr,
    PIXELS: tl.constexpr,
    VALUES: tl.constexpr,
    CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of output pixels and channels: the sum over colours, taps and values of the code."""
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    in_pixels, in_channels = pixel < pixels, channel < OUT
    image, place = (pixel // (height * width)).to(tl.int64), pixel % (height * width)
    y, x = place // width, place % width

    CHUNKS: tl.constexpr = (M + VALUES - 1) // VALUES
    total = tl.zeros((PIXELS, CHANNELS), dtype=tl.float32)
    for step in range(COLOURS * KERNEL * KERNEL * CHUNKS):
        joined = step // CHUNKS  # colour and tap
        colour, tap = joined // (KERNEL * KERNEL), joined % (KERNEL * KERNEL)
        value = step % CHUNKS * VALUES + tl.arange(0, VALUES)
        from_y, from_x = y + tap // KERNEL - KERNEL // 2, x + tap % KERNEL - KERNEL // 2
        inside = in_pixels & (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
        from_pixel = ((image * COLOURS + colour) * height + from_y) * width + from_x
        level = tl.load(images + from_pixel, mask=inside, other=0).to(tl.int32)
        there = inside[:, None] & (value < M)[None, :]
        code = tl.load(table + level[:, None] * M + value[None, :], mask=there, other=0.0)
        from_weight = (joined * M + value)[:, None] * OUT + channel[None, :]
        tap_weight = tl.load(weight + from_weight, mask=(value < M)[:, None] & in_channels[None, :], other=0.0)
        total = tl.dot(code, tap_weight, total, input_precision=PRECISION)

    to = pixel.to(tl.int64)[:, None] * OUT + channel[None, :]
    tl.store(out + to, total.to(out.dtype.element_ty), mask=in_pixels[:, None] & in_channels[None, :])
