"""The AugMix operations and mixtures as Triton kernels: tables of a step, the step itself, the mixture.

Arithmetic is that of :mod:`~p2be_exp.augment.tables`, :mod:`~p2be_exp.augment.affine` and
:class:`~p2be_exp.augment.view_rounding.Rounding`, in the same order. A multiplication and an addition are never fused
into one instruction, since truncation exposes the last bit.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from p2be_exp.augment.view_rounding import GUARD, MAX_LEVEL, OFFSET

_PIXELS_A_PROGRAM = 1024
# Values of Operation; the kernels ask for those with a table of their own, and take what is above for affine.
_AUTOCONTRAST = tl.constexpr(0)
_EQUALIZE = tl.constexpr(1)
_POSTERIZE = tl.constexpr(2)
_SOLARIZE = tl.constexpr(3)


def tables(images: Tensor, operation: Tensor, argument: Tensor) -> Tensor:
    """The look-up table of each chain's operation.

    Args:
        images: uint8 ``(B, C, H, W)``, levels; see ``step``.
        operation: int64 ``(V, B, W)``, ``Operation`` values or ``NO_OPERATION``.
        argument: float64 ``(V, B, W)``.

    Returns:
        uint8 ``(V * B * W, C, 256)``; undefined for the chains whose operation is not a look-up.
    """
    channels, height, width = images.shape[1:]
    out = torch.empty(operation.numel(), channels, 256, dtype=torch.uint8, device=images.device)
    if len(out):
        _tables[(len(out), channels)](
            images.contiguous(),
            operation.contiguous(),
            argument.contiguous(),
            out,
            len(images),
            CHAINS=operation.shape[-1],
            PIXELS=height * width,
            SIZE=_PIXELS_A_PROGRAM,
            enable_fp_fusion=False,
        )
    return out


def step(images: Tensor, table: Tensor, operation: Tensor, maps: Tensor) -> Tensor:
    """One operation of every chain.

    Args:
        images: uint8 ``(B, C, H, W)``, levels. Chain (v, b, w) is made from image b; so the images themselves serve
            the first step, and for the next ones V and W are 1 and B is the number of chains.
        table: uint8 ``(V * B * W, C, 256)``, from ``tables``; read for look-ups alone.
        operation: int64 ``(V, B, W)``, ``Operation`` values or ``NO_OPERATION``.
        maps: float64 of 6 V B W numbers, from ``affine_maps``.

    Returns:
        uint8 ``(V * B * W, C, H, W)``.
    """
    channels, height, width = images.shape[1:]
    out = images.new_empty(operation.numel(), channels, height, width)
    if out.numel():
        _step[(len(out), triton.cdiv(height * width, _PIXELS_A_PROGRAM))](
            images.contiguous(),
            table,
            operation.contiguous(),
            maps.contiguous(),
            out,
            len(images),
            CHAINS=operation.shape[-1],
            CHANNELS=channels,
            HEIGHT=height,
            WIDTH=width,
            SIZE=_PIXELS_A_PROGRAM,
            enable_fp_fusion=False,
        )
    return out


def mix(images: Tensor, chains: Tensor, weights: Tensor, rounding: str, buckets: int | None) -> Tensor:
    """Weighted sums of images and chains, as levels.

    Args:
        images: uint8 ``(B, C, H, W)``.
        chains: uint8 ``(V * B * W, C, H, W)``.
        weights: float32 ``(V, B, 1 + W)``.
        rounding: ``floor`` or ``nearest``.
        buckets: M, or None where buckets play no part.

    Returns:
        uint8 ``(V * B, C, H, W)``.
    """
    views, batch, terms = weights.shape
    out = images.new_empty(views * batch, *images.shape[1:])
    if out.numel():
        levels = images.shape[1:].numel()
        _mix[(len(out), triton.cdiv(levels, _PIXELS_A_PROGRAM))](
            images.contiguous(),
            chains,
            weights.contiguous(),
            out,
            batch,
            OFFSET[rounding],
            (buckets or 0) / MAX_LEVEL,
            MAX_LEVEL / (buckets or 1),
            GUARD,
            TERMS=terms,
            BUCKETS=buckets is not None,
            LEVELS=levels,
            SIZE=_PIXELS_A_PROGRAM,
            enable_fp_fusion=False,
        )
    return out


@triton.jit(do_not_specialize=["batch"])
def _tables(images, operation, argument, out, batch, CHAINS: tl.constexpr, PIXELS: tl.constexpr, SIZE: tl.constexpr):
    """One channel of one chain."""
    chain = tl.program_id(0)
    channel = tl.program_id(1)
    channels = tl.num_programs(1)
    kind = tl.load(operation + chain)
    level = tl.arange(0, 256)
    place = out + (chain.to(tl.int64) * channels + channel) * 256 + level
    if (kind == _AUTOCONTRAST) | (kind == _EQUALIZE):
        image = chain // CHAINS % batch
        plane = images + (image.to(tl.int64) * channels + channel) * PIXELS
        histogram = tl.zeros((256,), tl.int32)
        for first in range(0, PIXELS, SIZE):
            pixel = first + tl.arange(0, SIZE)
            levels = tl.load(plane + pixel, mask=pixel < PIXELS, other=0).to(tl.int32)
            histogram += tl.histogram(levels, 256)
        missing = (PIXELS + SIZE - 1) // SIZE * SIZE - PIXELS
        histogram -= tl.where(level == 0, missing, 0)  # what lies beyond the last pixel was counted as black
        low = tl.min(tl.where(histogram > 0, level, 255), axis=0)
        high = tl.max(tl.where(histogram > 0, level, 0), axis=0)
        if kind == _AUTOCONTRAST:
            tl.store(place, _autocontrast(level, low, high).to(tl.uint8))
        else:
            tl.store(place, _equalize(level, histogram, high, PIXELS).to(tl.uint8))
    elif kind == _POSTERIZE:
        bits = tl.load(argument + chain).to(tl.int32)
        tl.store(place, (level >> (8 - bits) << (8 - bits)).to(tl.uint8))
    elif kind == _SOLARIZE:
        threshold = tl.load(argument + chain)
        tl.store(place, tl.where(level.to(tl.float64) < threshold, level, 255 - level).to(tl.uint8))


@triton.jit
def _autocontrast(level, low, high):
    """From the lowest and highest level of a channel."""
    scale = tl.full((), 255, tl.float64) / tl.maximum(high - low, 1).to(tl.float64)
    stretched = level.to(tl.float64) * scale + -low.to(tl.float64) * scale
    stretched = tl.minimum(tl.maximum(stretched, 0.0), 255.0).to(tl.int32)
    return tl.where(high > low, stretched, level)


@triton.jit
def _equalize(level, histogram, high, PIXELS: tl.constexpr):
    """From the histogram of a channel and its highest level."""
    brightest = tl.sum(tl.where(level == high, histogram, 0), axis=0)
    step = (PIXELS - brightest) // 255
    below = tl.cumsum(histogram, axis=0) - histogram
    spread = tl.minimum((below + step // 2) // tl.maximum(step, 1), 255)
    return tl.where(step > 0, spread, level)


@triton.jit(do_not_specialize=["batch"])
def _step(
    images,
    table,
    operation,
    maps,
    out,
    batch,
    CHAINS: tl.constexpr,
    CHANNELS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    SIZE: tl.constexpr,
):
    """Some pixels of one chain, in all channels."""
    PIXELS: tl.constexpr = HEIGHT * WIDTH
    chain = tl.program_id(0)
    kind = tl.load(operation + chain)
    pixel = tl.program_id(1) * SIZE + tl.arange(0, SIZE)
    known = pixel < PIXELS
    image = images + (chain // CHAINS % batch).to(tl.int64) * (CHANNELS * PIXELS)
    result = out + chain.to(tl.int64) * (CHANNELS * PIXELS) + pixel
    if kind > _SOLARIZE:
        a, b, c = tl.load(maps + chain * 6), tl.load(maps + chain * 6 + 1), tl.load(maps + chain * 6 + 2)
        d, e, f = tl.load(maps + chain * 6 + 3), tl.load(maps + chain * 6 + 4), tl.load(maps + chain * 6 + 5)
        x = (pixel % WIDTH).to(tl.float64) + 0.5
        y = (pixel // WIDTH).to(tl.float64) + 0.5
        left, right, right_share, inside_x = _neighbours(a * x + b * y + c, WIDTH)
        upper, lower, lower_share, inside_y = _neighbours(d * x + e * y + f, HEIGHT)
        upper, lower = upper * WIDTH, lower * WIDTH
        for channel in tl.static_range(CHANNELS):
            plane = image + channel * PIXELS
            first = _between(plane + upper + left, plane + upper + right, right_share, known)
            second = _between(plane + lower + left, plane + lower + right, right_share, known)
            sample = (first + (second - first) * lower_share).to(tl.int32)
            sample = tl.where(inside_x & inside_y, sample, 0)
            tl.store(result + channel * PIXELS, sample.to(tl.uint8), mask=known)
    else:
        for channel in tl.static_range(CHANNELS):
            level = tl.load(image + channel * PIXELS + pixel, mask=known, other=0)
            if kind >= 0:
                entry = table + (chain.to(tl.int64) * CHANNELS + channel) * 256 + level.to(tl.int32)
                level = tl.load(entry, mask=known, other=0)
            tl.store(result + channel * PIXELS, level, mask=known)


@triton.jit
def _neighbours(position, LENGTH: tl.constexpr):
    """Along one axis: the two pixels around each position, the weight of the second, whether it is inside."""
    inside = (position >= 0) & (position < LENGTH)
    position = position - 0.5
    first = tl.floor(position)
    share = position - first
    first = first.to(tl.int32)
    second = tl.minimum(tl.maximum(first + 1, 0), LENGTH - 1)
    return tl.minimum(tl.maximum(first, 0), LENGTH - 1), second, share, inside


@triton.jit
def _between(first, second, share, known):
    """Interpolated between the levels at two places."""
    level = tl.load(first, mask=known, other=0).to(tl.float64)
    return level + (tl.load(second, mask=known, other=0).to(tl.float64) - level) * share


@triton.jit(do_not_specialize=["batch"])
def _mix(
    images,
    chains,
    weights,
    out,
    batch,
    offset,
    buckets_a_level,
    levels_a_bucket,
    guard,
    TERMS: tl.constexpr,
    BUCKETS: tl.constexpr,
    LEVELS: tl.constexpr,
    SIZE: tl.constexpr,
):
    """Some levels of one view of one image."""
    view = tl.program_id(0)
    at = tl.program_id(1) * SIZE + tl.arange(0, SIZE)
    known = at < LEVELS
    image = images + (view % batch).to(tl.int64) * LEVELS + at
    # In float64, in which product and sum are exact, and rounded once.
    first = tl.load(image, mask=known, other=0).to(tl.float64)
    mixture = (first * tl.load(weights + view * TERMS).to(tl.float64)).to(tl.float32)
    for term in tl.static_range(1, TERMS):
        chain = chains + (view.to(tl.int64) * (TERMS - 1) + term - 1) * LEVELS + at
        levels = tl.load(chain, mask=known, other=0).to(tl.float64)
        weight = tl.load(weights + view * TERMS + term).to(tl.float64)
        mixture = (mixture.to(tl.float64) + levels * weight).to(tl.float32)
    level = (mixture + offset).to(tl.int32)
    if BUCKETS:
        bucket = tl.floor(mixture * buckets_a_level)
        level = tl.maximum(level, tl.ceil(bucket * levels_a_bucket - guard).to(tl.int32))
    tl.store(out + view.to(tl.int64) * LEVELS + at, level.to(tl.uint8), mask=known)
