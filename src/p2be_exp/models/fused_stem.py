"""Look-up and first convolution in one Triton kernel for GPUs: levels in, features out, no code tensor in memory.

The forward pass takes the codes of a tile of pixels from the table (32 or 64 KiB at M = 64, which a GPU's first cache
holds) straight into the product with the weight of a colour and tap. The way back needs no code either: both gradients
follow from the sums of the output's gradient by level, colour and tap (:mod:`p2be_exp.encodings.level_sums`), which
do not depend on M, by one small product of matrices each.

Importing this module needs Triton: ask :func:`p2be_exp.encodings.kernels.usable` first.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from p2be_exp.encodings.kernels import on_device, tile
from p2be_exp.encodings.level_sums import level_sums

_CHANNELS = 64  # the sides of a tile at most, and of values:
_VALUES = {torch.float32: 32, torch.bfloat16: 64}  # as many as leave the registers of compute capability 8.0 enough


def fused_conv2d(images: Tensor, table: Tensor, weight: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The convolution of an encoded image at stride 1 with the padding that keeps its size, zeros in code space.

    Args:
        images: levels, uint8 ``(B, C, H, W)``.
        table: codes, float32 ``(256, M)``.
        weight: float32 ``(out_channels, C * M, k, k)``, k odd.
        dtype: of the two in the product and of the result: float32, or bfloat16, which is summed in float32.

    Returns:
        ``(B, out_channels, H, W)`` in channels-last memory. The gradients of table and weight are float32, from sums
        in float32 whatever the dtype is. float32 products are made in TF32 where ``torch.backends.cudnn.allow_tf32``
        has PyTorch's convolutions made so.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be levels of dtype uint8, found {images.dtype}")
    with torch.autocast(images.device.type, enabled=False):
        return _FusedConv2d.apply(images, table, weight, dtype).permute(0, 3, 1, 2)


class _FusedConv2d(torch.autograd.Function):
    """Output ``(B, H, W, out_channels)``."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, table: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        colours, M = images.shape[1], table.shape[1]
        # The way back has the numbers of the way there: those of the weight that was rounded.
        table, packed = table.to(dtype).contiguous(), _packed(weight, colours, M).to(dtype)
        ctx.save_for_backward(images, table, packed)
        return _convolved(images.contiguous(), table, packed, weight.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, Tensor | None, None]:
        images, table, packed = ctx.saved_tensors
        table, packed = table.float(), packed.float()
        colours, taps, M, out_channels = packed.shape
        kernel = round(taps**0.5)
        sums = level_sums(images, grad, kernel, "tf32" if torch.backends.cudnn.allow_tf32 else "tf32x3")
        of_table = of_weight = None
        if ctx.needs_input_grad[1]:
            across = packed.transpose(2, 3).reshape(-1, M)  # colour, tap, channel; value
            of_table = sums.permute(1, 0, 2, 3).reshape(len(table), -1) @ across
        if ctx.needs_input_grad[2]:
            by_value = (table.T @ sums.flatten(2)).view(colours, M, taps, out_channels)
            of_weight = by_value.permute(3, 0, 1, 2).reshape(out_channels, colours * M, kernel, kernel)
        return None, of_table, of_weight, None


def _packed(weight: Tensor, colours: int, M: int) -> Tensor:
    """The weight as the kernel reads it, ``(colours, taps, M, out_channels)``, contiguous."""
    return weight.reshape(weight.shape[0], colours, M, -1).permute(1, 3, 2, 0).contiguous()


def _convolved(images: Tensor, table: Tensor, packed: Tensor, kernel: int) -> Tensor:
    batch, colours, height, width = images.shape
    M, out_channels = packed.shape[2:]
    pixels = batch * height * width
    out = torch.empty(batch, height, width, out_channels, dtype=table.dtype, device=images.device)
    settings = constants(colours, M, out_channels, kernel, table.dtype)
    grid = (triton.cdiv(pixels, settings["PIXELS"]), triton.cdiv(out_channels, settings["CHANNELS"]))
    if pixels:
        with on_device(images):
            _fused_convolution[grid](images, table, packed, out, pixels, height, width, **settings)
    return out


def constants(colours: int, M: int, out_channels: int, kernel: int, dtype: torch.dtype) -> dict[str, Any]:
    """What the kernel is compiled for: the sizes of :func:`fused_conv2d`, and those of its tiles."""
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
