"""The sums of rows by level as a Triton kernel that feeds the tensor cores.

They are the product of the pixels' one-hot codes with the rows. The one-hot codes are made on chip, a tile at a time,
and are exact in any precision. No two programs add into the same place, so the result is the same every time.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from p2be_exp.encodings.kernels import tile

_PROGRAMS = 1024  # at most so many in all: a constant, so that the order of a sum does not depend on the device
_LEVELS, _COLUMNS = 64, 64  # the sides of a tile, and of pixels:
_PIXELS = {torch.float32: 32, torch.bfloat16: 64}  # as many as leave the registers of compute capability 8.0 enough


def level_sums(levels: Tensor, rows: Tensor, kernel: int, precision: str) -> Tensor:
    """See :func:`p2be_exp.encodings.level_sums.level_sums`."""
    batch, colours, height, width = levels.shape
    settings = constants(colours, rows.shape[3], kernel, rows.dtype, precision)
    pixels, columns = batch * height * width, kernel * kernel * rows.shape[3]
    tiles = (triton.cdiv(columns, settings["COLUMNS"]), 256 // _LEVELS * colours)
    blocks = triton.cdiv(pixels, settings["PIXELS"])
    parts = max(1, min(blocks, _PROGRAMS // (tiles[0] * tiles[1])))
    sums = torch.empty(parts, colours, 256, columns, dtype=torch.float32, device=rows.device)
    _level_sums[(parts, *tiles)](levels.contiguous(), rows.contiguous(), sums, pixels, height, width, **settings)
    return sums.sum(0).view(colours, 256, kernel * kernel, rows.shape[3])


def constants(colours: int, columns: int, kernel: int, dtype: torch.dtype, precision: str) -> dict[str, Any]:
    """What the kernel is compiled for.

    Args:
        colours, kernel, precision: see :func:`level_sums`.
        columns: N.
        dtype: of the rows.
    """
    return {
        "COLOURS": colours,
        "N": columns,
        "KERNEL": kernel,
        "PIXELS": _PIXELS[dtype],
        "LEVELS": _LEVELS,
        "COLUMNS": min(_COLUMNS, tile(kernel * kernel * columns)),
        "PRECISION": precision,
    }


@triton.jit
def _level_sums(
    levels,
    rows,
    sums,
    pixels,
    height,
    width,
    COLOURS: tl.constexpr,
    N: tl.constexpr,
    KERNEL: tl.constexpr,
    PIXELS: tl.constexpr,
    LEVELS: tl.constexpr,
    COLUMNS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of levels and columns, summed over every ``num_programs(0)``-th block of pixels."""
    part, parts = tl.program_id(0), tl.num_programs(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    colour = tl.program_id(2) % COLOURS
    level = tl.program_id(2) // COLOURS * LEVELS + tl.arange(0, LEVELS)
    tap, value = column // N, column % N
    up, left = KERNEL // 2 - tap // KERNEL, KERNEL // 2 - tap % KERNEL
    in_columns = column < KERNEL * KERNEL * N

    total = tl.zeros((LEVELS, COLUMNS), dtype=tl.float32)
    for block in range(part, tl.cdiv(pixels, PIXELS), parts):
        pixel = block * PIXELS + tl.arange(0, PIXELS)
        in_pixels = pixel < pixels
        image, place = pixel // (height * width), pixel % (height * width)
        y, x = place // width, place % width
        offset = (image.to(tl.int64) * COLOURS + colour) * height * width + place
        found = tl.load(levels + offset, mask=in_pixels, other=0).to(tl.int32)
        row_y, row_x = y[:, None] + up[None, :], x[:, None] + left[None, :]
        there = in_pixels[:, None] & in_columns[None, :]
        there = there & (row_y >= 0) & (row_y < height) & (row_x >= 0) & (row_x < width)
        row = (image.to(tl.int64)[:, None] * height + row_y) * width + row_x
        met = tl.load(rows + row * N + value[None, :], mask=there, other=0.0)
        one_hot = (level[:, None] == found[None, :]).to(met.dtype)
        total = tl.dot(one_hot, met, total, input_precision=PRECISION)

    first = (part.to(tl.int64) * COLOURS + colour) * 256
    to = (first + level)[:, None] * (KERNEL * KERNEL * N) + column[None, :]
    tl.store(sums + to, total, mask=in_columns[None, :])
