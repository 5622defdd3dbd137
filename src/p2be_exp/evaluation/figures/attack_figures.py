"""Figures of an evaluation under attack: error against radius, loss over the steps, images and their perturbations."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.figures.canvas import OKABE_ITO, entitle, new_figure
from p2be_exp.evaluation.figures.saving import PNG, save_figure
from p2be_exp.evaluation.results import Results, Row
from p2be_exp.statistics.intervals import wilson_interval

SHOWN_IMAGES = 6
_MARKERS = "osD^vP*X<>"
_STYLES = ("-", "--", "-.", ":")
_EFFORTS: dict[str, Any] = {
    "half": {"color": "#E69F00", "linewidth": 4.5, "linestyle": "-"},
    "once": {"color": "#0072B2", "linewidth": 2.2, "linestyle": "-"},
    "twice": {"color": "#000000", "linewidth": 1, "linestyle": "--"},
}
"""Later curves are thinner, so that all are seen where they are one."""
_BESIDE = 0.4
"""Part of the distance between two radii that the attacks at one of them spread over, so that none hides another."""


def draw_attack_figures(
    results: Results, clean_images: NDArray[np.uint8], title: str, kinds: Sequence[str] = PNG
) -> list[Path]:
    """Draw the figures of an attacked network into the folder's ``figures/``.

    Args:
        results: complete, with at least one attack.
        clean_images: the first test images, uint8 ``(n, 3, H, W)``.
        title: names the network and the images.
        kinds: of the files, see :func:`p2be_exp.evaluation.figures.saving.save_figure`.

    Returns:
        The files: ``error_over_radius.png``; ``error_over_effort.png`` of a suite; ``loss_over_steps.png`` where an
        attack has steps; ``adversarial_images.png``.
    """
    figures = {"error_over_radius": error_over_radius(results, title)}
    if (growing := error_over_effort(results, title)) is not None:
        figures["error_over_effort"] = growing
    if (losses := loss_over_steps(results, title)) is not None:
        figures["loss_over_steps"] = losses
    figures["adversarial_images"] = adversarial_images(results, clean_images, title)
    folder = results.folder / "figures"
    return [file for name, figure in figures.items() for file in save_figure(figure, folder / f"{name}.png", kinds)]


def error_over_radius(results: Results, title: str) -> Figure:
    """One line per attack, the worst case in bold, from the clean error at radius 0; of one radius bars."""
    radii = sorted({each.eps_levels for each in results.attacks if each.eps_levels is not None})
    return _at_one_radius(results, title) if len(radii) == 1 else _over_radii(results, title, radii)


def _over_radii(results: Results, title: str, radii: Sequence[int]) -> Figure:
    """The attacks stand beside one another at each radius: where all break everything, each still has its mark."""
    clean, names = results.rows[CLEAN.id].error, _names(results)
    figure, axes = new_figure(figsize=(7.2, 4.6), layout="constrained")
    step = _BESIDE * min(np.diff([0, *radii])) / len(names)
    for number, name in enumerate(names):
        points = {each.eps_levels: results.rows[each.id].error for each in results.attacks if each.name == name}
        shift = (number - (len(names) - 1) / 2) * step
        places = [0.0, *(radius + shift for radius in points if radius is not None)]
        axes.plot(places, [clean, *points.values()], markersize=5, linewidth=1.2, label=name, **_style(number))
    if results.suite is not None:
        worst = _worst(results)
        axes.plot([0, *worst], [clean, *worst.values()], color="black", linewidth=3, label="worst case", zorder=1)
    axes.set(xlabel="radius in levels", ylabel="error %", ylim=(0, 102))
    axes.set_xticks([0, *radii])
    _finish(axes, title)
    return figure


def _at_one_radius(results: Results, title: str) -> Figure:
    """One bar per attack with Wilson's 95 % interval, the worst case in black, the clean error as a line."""
    rows = [results.rows[each.id] for each in results.attacks]
    bars = [(row.name, row.error, (row.ci_low, row.ci_high)) for row in rows]
    if results.suite is not None:
        bars += [("worst case", error, _interval(error, rows[0])) for error in _worst(results).values()]
    figure, axes = new_figure(figsize=(7.2, 1.6 + 0.33 * len(bars)), layout="constrained")
    for place, (name, error, (low, high)) in enumerate(bars):
        colour = "black" if name == "worst case" else OKABE_ITO[0]
        axes.barh(place, error, height=0.7, color=colour)
        ends = [[max(0.0, error - low)], [max(0.0, high - error)]]
        # Grey, to be seen on a black bar and on white.
        axes.errorbar(error, place, xerr=ends, color="#8C8C8C", linewidth=1.2, capsize=2.5)
        axes.annotate(f"{error:.1f}", (high, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=9)
    clean = results.rows[CLEAN.id].error
    axes.axvline(clean, color="#D55E00", linestyle="--", linewidth=1.2, label=f"clean images: {clean:.1f} %")
    axes.set_yticks(range(len(bars)), [name for name, *_ in bars])
    axes.set(ylim=(len(bars) - 0.5, -0.5), xlim=(0, 112), xticks=range(0, 101, 20))
    axes.set_xlabel(f"error % at {rows[0].eps_levels} levels, with 95 % interval")
    axes.grid(axis="x", color="0.85")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower right", frameon=False, fontsize=8)
    entitle(figure, title)
    return figure


def _worst(results: Results) -> dict[int, float]:
    """The worst case by radius; every attack is there."""
    return {int(radius): error for radius, error in results.worst_case().items() if error is not None}


def _interval(error: float, row: Row) -> tuple[float, float]:
    """Wilson's 95 % interval in percent of an error over as many images as a row's."""
    low, high = wilson_interval(round(error * row.n / 100), row.n)
    return 100 * low, 100 * high


def error_over_effort(results: Results, title: str) -> Figure | None:
    """How the error of the attack that decides at each radius grew with its effort: half, once and twice as much.

    Curves that are level at their right end, and no higher for twice the effort, say that more would not help.
    """
    decisive = _decisive(results)
    if not decisive:
        return None
    figure, grid = new_figure(1, len(decisive), figsize=(1.4 + 2.5 * len(decisive), 3.4), squeeze=False, sharey=True,
                              layout="constrained")  # fmt: skip
    for axes, condition in zip(grid[0], decisive, strict=True):
        for effort, style in _EFFORTS.items():
            name = condition.name if effort == "once" else f"{condition.name}_{effort}"
            row = replace(condition, name=name).id
            if (curve := results.growth(row)) is None:
                continue
            spent, broken = np.array(curve).T
            axes.step(spent, 100 * broken / results.rows[row].n, where="post", label=effort, **style)
        axes.set_xscale("symlog", base=2, linthresh=1)
        axes.set(xlabel=f"{'gradients' if condition.gradient else 'queries'} an image", ylim=(0, 102), xlim=(0, None))
        axes.set_title(f"{condition.eps_levels} levels\n{condition.name}", fontsize=8)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0, 0].set_ylabel("error %")
    _finish(grid[0, -1], title)
    return figure


def _decisive(results: Results) -> list[Condition]:
    """The attacks that ran with twice their effort, too, each at its radius."""
    twice = {(each.name, each.eps_levels) for each in results.attacks}
    return [each for each in results.attacks if (f"{each.name}_twice", each.eps_levels) in twice]


def loss_over_steps(results: Results, title: str) -> Figure | None:
    """Mean cross-entropy along each attack's steps at one radius: the smallest of 8 levels or more, else the largest.

    An image that PGD has broken keeps its loss for the remaining steps. Half and twice the effort of an attack are left
    out: their first steps are its own, and would hide it.
    """
    radii = sorted({each.eps_levels for each in results.attacks if each.eps_levels is not None})
    radius = next((each for each in radii if each >= 8), radii[-1])
    figure, axes = new_figure(figsize=(7.2, 4.6), layout="constrained")
    drawn = False
    names = [each.name for each in _decisive(results)]
    repeated = {f"{name}_{effort}" for name in names for effort in _EFFORTS}
    shown = [each for each in results.attacks if each.eps_levels == radius and each.name not in repeated]
    for number, condition in enumerate(shown):
        losses = results.images(condition.id).get("losses")
        if losses is None or np.isnan(losses).all():
            continue
        mean = np.nanmean(losses, axis=0)
        marked = (number % min(5, len(mean)), max(1, len(mean) // 8))  # not all at the same steps
        axes.plot(np.arange(1, len(mean) + 1), mean, markersize=4, linewidth=1.2, label=condition.name,
                  markevery=marked, **_style(number))  # fmt: skip
        drawn = True
    if not drawn:
        return None
    axes.set(xlabel=f"step, at a radius of {radius} levels", ylabel="mean cross-entropy, as the attack sees it")
    axes.set_ylim(bottom=0)
    _finish(axes, title)
    return figure


def adversarial_images(results: Results, clean_images: NDArray[np.uint8], title: str) -> Figure:
    """Clean images, and for each radius those of its strongest attack with the difference, amplified to be visible."""
    strongest = {condition: results.images(condition.id) for condition in _strongest(results)}
    kept = min(len(found["examples"]) for found in strongest.values())  # only of the first process's share of a batch
    rows, columns = min(SHOWN_IMAGES, len(clean_images), kept), 1 + 2 * len(strongest)
    figure, grid = new_figure(rows, columns, figsize=(0.6 + 1.25 * columns, 1.1 + 1.2 * rows), squeeze=False,
                                layout="constrained")  # fmt: skip
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for row in range(rows):
        _show(grid[row, 0], clean_images[row])
    grid[0, 0].set_title("clean", fontsize=8)
    for number, (condition, found) in enumerate(strongest.items()):
        for row in range(rows):
            changed, difference = grid[row, 1 + 2 * number], grid[row, 2 + 2 * number]
            adversarial = found["examples"][row]
            _show(changed, adversarial)
            changed.set_xlabel("wrong" if found["wrong"][row] else "still right", fontsize=7)
            change = adversarial.astype(np.int16) - clean_images[row]
            _show(difference, (128 + change * (127 // max(condition.eps_levels or 0, 1))).clip(0, 255).astype(np.uint8))
        name = textwrap.fill(condition.name.replace("_", "_ "), 15).replace("_ ", "_")  # as wide as an image on paper
        grid[0, 1 + 2 * number].set_title(f"{condition.eps_levels} levels\n{name}", fontsize=8)
        grid[0, 2 + 2 * number].set_title("difference", fontsize=8)
    entitle(figure, title)
    return figure


def _strongest(results: Results) -> list[Condition]:
    """For each radius the attack with the highest error."""
    radii = sorted({each.eps_levels for each in results.attacks if each.eps_levels is not None})
    of_radius = [[each for each in results.attacks if each.eps_levels == radius] for radius in radii]
    return [max(each, key=lambda condition: results.rows[condition.id].error) for each in of_radius]


def _style(number: int) -> dict[str, Any]:
    """Colour, marker and line of one of many curves; all three differ among the first eight."""
    return {
        "color": OKABE_ITO[number % len(OKABE_ITO)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _STYLES[number // 2 % len(_STYLES)],
    }


def _names(results: Results) -> list[str]:
    return list(dict.fromkeys(each.name for each in results.attacks))


def _show(axes: Axes, image: NDArray[np.uint8]) -> None:
    axes.imshow(image.transpose(1, 2, 0), interpolation="nearest" if image.shape[1] <= 64 else "antialiased")


def _finish(axes: Axes, title: str) -> None:
    axes.grid(axis="y", color="0.85")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    entitle(cast("Figure", axes.figure), title)
