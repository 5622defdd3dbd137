"""Flip and crop of a batch as one Triton kernel."""

import triton
import triton.language as tl
from torch import Tensor

_PIXELS_A_PROGRAM = 1024


def flip_crop(images: Tensor, flip: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """:func:`p2be_exp.augment.flip_crop.flip_crop`: the same arguments and levels."""
    batch, channels, height, width = images.shape
    out = images.new_empty(batch, channels, height, width)
    if out.numel():
        _flip_crop[(batch * channels, triton.cdiv(height * width, _PIXELS_A_PROGRAM))](
            images.contiguous(),
            flip.contiguous(),
            top.contiguous(),
            left.contiguous(),
            out,
            padding,
            CHANNELS=channels,
            HEIGHT=height,
            WIDTH=width,
            SIZE=_PIXELS_A_PROGRAM,
        )
    return out


@triton.jit
def _flip_crop(
    images,
    flip,
    top,
    left,
    out,
    padding,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    SIZE: tl.constexpr,
):
    """Some pixels of one channel of one image."""
    plane = tl.program_id(0)
    image = plane // CHANNELS
    pixel = tl.program_id(1) * SIZE + tl.arange(0, SIZE)
    known = pixel < HEIGHT * WIDTH
    row = pixel // WIDTH + tl.load(top + image).to(tl.int32) - padding
    column = pixel % WIDTH + tl.load(left + image).to(tl.int32) - padding
    inside = (row >= 0) & (row < HEIGHT) & (column >= 0) & (column < WIDTH)
    flipped = tl.load(flip + image).to(tl.int32) != 0
    column = tl.where(flipped, WIDTH - 1 - column, column)
    first = plane.to(tl.int64) * (HEIGHT * WIDTH)
    level = tl.load(images + first + row * WIDTH + column, mask=known & inside, other=0)
    tl.store(out + first + pixel, level, mask=known)
