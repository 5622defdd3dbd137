"""Figures of a network that restores: images before and after, and how the error of restoration fell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from p2be_exp.evaluation.figures.canvas import entitle, new_figure
from p2be_exp.evaluation.figures.saving import PNG, save_figure

_ERROR, _PHASE_1, _LIMIT = "#0072B2", "#D55E00", "#444444"


def draw_restored_images(
    clean: NDArray[np.uint8],
    noisy: NDArray[np.uint8],
    restored: NDArray[np.uint8],
    title: str,
    path: Path,
    kinds: Sequence[str] = PNG,
) -> list[Path]:
    """Draw images clean, noisy and restored, with the differences to the clean ones, one row each; return the files.

    Args:
        clean, noisy, restored: uint8 ``(n, 3, H, W)``.
        title: of the figure.
        path: where the PNG goes.
        kinds: of the files, see :func:`p2be_exp.evaluation.figures.saving.save_figure`.
    """
    return save_figure(restored_images(clean, noisy, restored, title), path, kinds)


def restored_images(
    clean: NDArray[np.uint8], noisy: NDArray[np.uint8], restored: NDArray[np.uint8], title: str
) -> Figure:
    """See :func:`draw_restored_images`; beneath each changed image its mean absolute difference in levels."""
    factors = [_amplification(each, clean) for each in (noisy, restored)]
    heads = ("clean", "noisy", f"difference x {factors[0]}", "restored", f"difference x {factors[1]}")
    figure, grid = new_figure(len(clean), len(heads), figsize=(0.4 + 1.25 * len(heads), 0.7 + 1.35 * len(clean)),
                              squeeze=False, layout="constrained")  # fmt: skip
    for row, (image, *changed) in zip(grid, zip(clean, noisy, restored, strict=True), strict=True):
        shown = [image]
        for number, (each, factor) in enumerate(zip(changed, factors, strict=True)):
            difference = each.astype(np.int16) - image
            shown += [each, (128 + factor * difference).clip(0, 255).astype(np.uint8)]
            row[1 + 2 * number].set_xlabel(f"{np.abs(difference).mean():.1f} levels off", fontsize=7)
        for axes, each in zip(row, shown, strict=True):
            interpolation = "nearest" if each.shape[1] <= 64 else "antialiased"
            axes.imshow(each.transpose(1, 2, 0), interpolation=interpolation)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    for axes, head in zip(grid[0], heads, strict=True):
        axes.set_title(head, fontsize=8)
    entitle(figure, title)
    return figure


def _amplification(changed: NDArray[np.uint8], clean: NDArray[np.uint8]) -> int:
    """The power of 2 that makes differences visible, and leaves 95 % of them within the range of a pixel."""
    large = np.percentile(np.abs(changed.astype(np.int16) - clean), 95)
    return max(1, 2 ** int(np.log2(127 / max(large, 1))))


def draw_restoration(
    steps: Sequence[int],
    errors: Sequence[float],
    joint: Sequence[int],
    threshold: float,
    title: str,
    path: Path,
    kinds: Sequence[str] = PNG,
) -> list[Path]:
    """Draw the error of restoration batch by batch, and the phase of each; return the files.

    Args:
        steps: numbers of the batches.
        errors: mean squared error of what each restored.
        joint: 1 where both phases were trained, 0 where the restoration alone was.
        threshold: above which that is so.
        title: of the figure.
        path: where the PNG goes.
        kinds: of the files, see :func:`p2be_exp.evaluation.figures.saving.save_figure`.
    """
    return save_figure(restoration(steps, errors, joint, threshold, title), path, kinds)


def restoration(
    steps: Sequence[int], errors: Sequence[float], joint: Sequence[int], threshold: float, title: str
) -> Figure:
    """See :func:`draw_restoration`: a point a batch, their running mean, the threshold; batches of phase 1 marked."""
    at, values, alone = np.asarray(steps), np.asarray(errors), ~np.asarray(joint, dtype=bool)
    figure, (axes, strip) = new_figure(2, 1, figsize=(7.2, 4.2), sharex=True, height_ratios=(9, 1),
                                       layout="constrained")  # fmt: skip
    axes.plot(at[~alone], values[~alone], ".", color=_ERROR, markersize=2, alpha=0.35)
    axes.plot(at[alone], values[alone], ".", color=_PHASE_1, markersize=4)
    smooth, width = _running_mean(values)
    axes.plot(at, smooth, color=_ERROR, linewidth=1.4, label=f"mean of {width} batches")
    axes.axhline(threshold, color=_LIMIT, linewidth=1, linestyle="--", label=f"threshold {threshold:g}")
    axes.set_yscale("log")
    axes.set(ylabel="mean squared error of restoration")
    axes.grid(axis="y", color="0.85")
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    strip.vlines(at[alone], 0, 1, color=_PHASE_1, linewidth=0.8)
    strip.set(ylim=(0, 1), yticks=[], xlabel="batch", xlim=(at[0] - 0.5, at[-1] + 0.5))
    strip.set_ylabel("phase 1", rotation=0, ha="right", va="center", fontsize=8, color=_PHASE_1)
    strip.set_title(f"phase 1, which restores alone: {alone.sum()} of {len(at)} batches", fontsize=8, loc="left")
    for each in (axes, strip):
        each.spines[["top", "right"]].set_visible(False)
    entitle(figure, title)
    return figure


def _running_mean(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Means over a hundredth of all values around each, fewer at the ends; and how many these are."""
    half = max(1, len(values) // 200)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first), 2 * half + 1
