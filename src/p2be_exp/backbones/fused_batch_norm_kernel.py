"""Batch norm and ReLU as Triton kernels over rows of pixels: statistics, output, the backward's sums, its gradient.

Statistics and sums are made in two steps: programs go over a share of the rows each, then others add the shares up. No
two programs add into the same place, and their number depends on the shape alone: the result is the same every time.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_MOST_PARTS = 256
_CHANNELS = 64  # the side of a tile at most
_VALUES = 2048  # of a tile
_JOINED = 16  # channels that one program adds the parts up of


def statistics(rows: Tensor, running_mean: Tensor, running_var: Tensor, batches: Tensor, momentum: float) -> Tensor:
    """Mean and biased variance ``(2, C)`` of rows ``(N, C)``, N at least 2; running ones are updated in place."""
    rows = rows.contiguous()
    settings, parts, steps = _shares(rows)
    partial, found = rows.new_empty(parts, 2, rows.shape[1], dtype=torch.float32), _of_channels(rows)
    _moments[_grid(rows, parts, settings)](rows, partial, *rows.shape, steps, **settings)
    _statistics[(triton.cdiv(rows.shape[1], _JOINED),)](
        partial,
        found,
        running_mean,
        running_var,
        batches,
        *rows.shape,
        steps,
        momentum,
        **_joining(parts),
        ROWS=settings["ROWS"],
    )
    return found


def normalise(
    rows: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
) -> Tensor:
    """``relu((rows - mean) / sqrt(variance + eps) * weight + bias)`` in ``dtype``."""
    rows = rows.contiguous()
    out, settings = torch.empty_like(rows, dtype=dtype), tiles(rows.shape[1])
    if rows.numel():
        grid = _grid(rows, triton.cdiv(len(rows), settings["ROWS"]), settings)
        _normalised[grid](rows, mean, variance, weight, bias, out, *rows.shape, eps, **settings)
    return out


def sums(
    rows: Tensor, grad: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """The gradients of bias and weight, ``(2, C)``."""
    rows, grad = rows.contiguous(), grad.contiguous()
    settings, parts, steps = _shares(rows)
    partial, found = rows.new_empty(parts, 2, rows.shape[1], dtype=torch.float32), _of_channels(rows)
    grid = _grid(rows, parts, settings)
    _part_sums[grid](rows, grad, mean, variance, weight, bias, partial, *rows.shape, steps, eps, **settings)
    _joined_sums[(triton.cdiv(2 * rows.shape[1], _JOINED),)](partial, found, 2 * rows.shape[1], **_joining(parts))
    return found


def to_rows(
    rows: Tensor,
    grad: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    sums: Tensor | None,
    eps: float,
) -> Tensor:
    """The gradient of the rows; through the statistics of the batch where the sums are given."""
    rows, grad = rows.contiguous(), grad.contiguous()
    out, settings = torch.empty_like(rows), tiles(rows.shape[1])
    if rows.numel():
        grid = _grid(rows, triton.cdiv(len(rows), settings["ROWS"]), settings)
        tensors = (rows, grad, mean, variance, weight, bias, mean if sums is None else sums, out)
        _gradient[grid](*tensors, *rows.shape, eps, **settings, OF_BATCH=sums is not None)
    return out


def tiles(channels: int) -> dict[str, Any]:
    """The sides of a tile; a power of two each, since Triton has no others."""
    side = min(_CHANNELS, max(4, triton.next_power_of_2(channels)))
    return {"ROWS": _VALUES // side, "CHANNELS": side}


def _shares(rows: Tensor) -> tuple[dict[str, Any], int, int]:
    """Tiles, programs, and tiles that each of them goes over."""
    settings = tiles(rows.shape[1])
    blocks = triton.cdiv(len(rows), settings["ROWS"])
    steps = max(1, triton.cdiv(blocks, _MOST_PARTS))
    return settings, max(1, triton.cdiv(blocks, steps)), steps


def _joining(parts: int) -> dict[str, Any]:
    return {"PARTS": triton.next_power_of_2(parts), "CHANNELS": _JOINED, "parts": parts}


def _grid(rows: Tensor, programs: int, settings: dict[str, Any]) -> tuple[int, int]:
    return programs, triton.cdiv(rows.shape[1], settings["CHANNELS"])


def _of_channels(rows: Tensor) -> Tensor:
    return rows.new_empty(2, rows.shape[1], dtype=torch.float32)


@triton.jit
def _moments(rows, partial, count, channels, steps, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """Mean and sum of squared deviations of a share of the rows: by Welford's updates in each place of the tile."""
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    in_channels = channel < channels
    first = tl.program_id(0).to(tl.int64) * steps * ROWS + tl.arange(0, ROWS)
    mean = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
    squares = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
    for step in range(steps):
        row = first + step * ROWS
        there = (row < count)[:, None] & in_channels[None, :]
        value = tl.load(rows + row[:, None] * channels + channel[None, :], mask=there, other=0.0).to(tl.float32)
        away = tl.where(there, value - mean, 0.0)
        mean += away * (1.0 / (step + 1))
        squares += away * tl.where(there, value - mean, 0.0)

    found = tl.minimum(tl.maximum(tl.cdiv(count - first, ROWS), 0), steps).to(tl.float32)  # values in each place
    joined, spread = _joined_moments(mean, squares, found)
    to = partial + tl.program_id(0) * 2 * channels + channel
    tl.store(to, joined, mask=in_channels)
    tl.store(to + channels, spread, mask=in_channels)


@triton.jit
def _statistics(
    partial,
    out,
    running_mean,
    running_var,
    batches,
    count,
    channels,
    steps,
    momentum,
    parts,
    PARTS: tl.constexpr,
    CHANNELS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Mean and variance of all rows from those of the shares, and the running ones."""
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    in_channels = channel < channels
    part = tl.arange(0, PARTS)
    there = (part < parts)[:, None] & in_channels[None, :]
    place = partial + part[:, None] * 2 * channels + channel[None, :]
    means = tl.load(place, mask=there, other=0.0)
    squares = tl.load(place + channels, mask=there, other=0.0)
    share = steps * ROWS
    found = tl.minimum(tl.maximum(count - part.to(tl.int64) * share, 0), share).to(tl.float32)
    found = tl.where(part < parts, found, 0.0)
    mean, spread = _joined_moments(means, squares, found)
    tl.store(out + channel, mean, mask=in_channels)
    tl.store(out + channels + channel, spread / count, mask=in_channels)

    before = tl.load(running_mean + channel, mask=in_channels, other=0.0)
    tl.store(running_mean + channel, momentum * mean + (1 - momentum) * before, mask=in_channels)
    before = tl.load(running_var + channel, mask=in_channels, other=0.0)
    tl.store(running_var + channel, momentum * (spread / (count - 1)) + (1 - momentum) * before, mask=in_channels)
    if tl.program_id(0) == 0:
        tl.store(batches, tl.load(batches) + 1)


@triton.jit
def _normalised(
    rows,
    means,
    variances,
    weights,
    biases,
    out,
    count,
    channels,
    eps,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """A tile of the output."""
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    there = (row < count)[:, None] & (channel < channels)[None, :]
    mean, scale, weight, bias = _channel_of(means, variances, weights, biases, channel, channels, eps)
    place = row[:, None] * channels + channel[None, :]
    value = tl.load(rows + place, mask=there, other=0.0).to(tl.float32)
    before = (value - mean[None, :]) * scale[None, :] * weight[None, :] + bias[None, :]
    # A comparison and not a maximum: NaN comes through.
    tl.store(out + place, tl.where(before <= 0, 0.0, before).to(out.dtype.element_ty), mask=there)


@triton.jit
def _part_sums(
    rows,
    grads,
    means,
    variances,
    weights,
    biases,
    partial,
    count,
    channels,
    steps,
    eps,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Over a share of the rows: the sum of what comes back, and of it times the standardised value."""
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    in_channels = channel < channels
    mean, scale, weight, bias = _channel_of(means, variances, weights, biases, channel, channels, eps)
    first = tl.program_id(0).to(tl.int64) * steps * ROWS + tl.arange(0, ROWS)
    plain = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
    product = tl.zeros((ROWS, CHANNELS), dtype=tl.float32)
    for step in range(steps):
        row = first + step * ROWS
        there = (row < count)[:, None] & in_channels[None, :]
        place = row[:, None] * channels + channel[None, :]
        value = tl.load(rows + place, mask=there, other=0.0).to(tl.float32)
        grad = tl.load(grads + place, mask=there, other=0.0).to(tl.float32)
        standardised = (value - mean[None, :]) * scale[None, :]
        grad = tl.where(standardised * weight[None, :] + bias[None, :] <= 0, 0.0, grad)
        plain += grad
        product += grad * standardised
    to = partial + tl.program_id(0) * 2 * channels + channel
    tl.store(to, tl.sum(plain, axis=0), mask=in_channels)
    tl.store(to + channels, tl.sum(product, axis=0), mask=in_channels)


@triton.jit
def _joined_sums(partial, out, columns, parts, PARTS: tl.constexpr, CHANNELS: tl.constexpr):
    """The sum of the parts."""
    column = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    part = tl.arange(0, PARTS)
    there = (part < parts)[:, None] & (column < columns)[None, :]
    values = tl.load(partial + part[:, None] * columns + column[None, :], mask=there, other=0.0)
    tl.store(out + column, tl.sum(values, axis=0), mask=column < columns)


@triton.jit
def _gradient(
    rows,
    grads,
    means,
    variances,
    weights,
    biases,
    sums,
    out,
    count,
    channels,
    eps,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
    OF_BATCH: tl.constexpr,
):
    """A tile of the gradient of the rows."""
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    in_channels = channel < channels
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    there = (row < count)[:, None] & in_channels[None, :]
    mean, scale, weight, bias = _channel_of(means, variances, weights, biases, channel, channels, eps)
    place = row[:, None] * channels + channel[None, :]
    value = tl.load(rows + place, mask=there, other=0.0).to(tl.float32)
    grad = tl.load(grads + place, mask=there, other=0.0).to(tl.float32)
    standardised = (value - mean[None, :]) * scale[None, :]
    grad = tl.where(standardised * weight[None, :] + bias[None, :] <= 0, 0.0, grad)
    if OF_BATCH:
        share = 1.0 / count
        plain = tl.load(sums + channel, mask=in_channels, other=0.0) * share
        product = tl.load(sums + channels + channel, mask=in_channels, other=0.0) * share
        grad -= plain[None, :] + standardised * product[None, :]
    grad *= (weight * scale)[None, :]
    tl.store(out + place, grad.to(out.dtype.element_ty), mask=there)


@triton.jit
def _joined_moments(means, squares, found):
    """Mean and sum of squared deviations, from those of parts (the first dimension) of ``found`` values each."""
    part = tl.arange(0, means.shape[0])
    about = tl.sum(tl.where((part == 0)[:, None], means, 0.0), axis=0)  # sums lose less of what is near 0
    away = means - about[None, :]
    mean = tl.sum(found[:, None] * away, axis=0) / tl.sum(found, axis=0)
    away -= mean[None, :]
    return about + mean, tl.sum(squares + found[:, None] * away * away, axis=0)


@triton.jit
def _channel_of(means, variances, weights, biases, channel, channels, eps):
    """Mean, one over the standard deviation, weight and bias of some channels."""
    there = channel < channels
    scale = 1 / tl.sqrt_rn(tl.load(variances + channel, mask=there, other=1.0) + eps)
    mean = tl.load(means + channel, mask=there, other=0.0)
    weight, bias = tl.load(weights + channel, mask=there, other=0.0), tl.load(biases + channel, mask=there, other=0.0)
    return mean, scale, weight, bias
