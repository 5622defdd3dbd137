"""The figure of a pair of networks: the clean and the attacked error of their mixture over its weight."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from p2be_exp.report.measured import Counts
from p2be_exp.report.paper.figures import Picture, picture
from p2be_exp.report.paper.mixtures import Pair, Point, interval

KNEE = 0.5
"""Below this weight the accurate part can outvote the robust one, however sure that is (Adaptive Smoothing, 2024)."""

_CLEAN: Any = {"color": "#0072B2", "marker": "o", "markerfacecolor": "white", "markersize": 5, "linewidth": 1.4}
_ATTACKED: Any = {"color": "#D55E00", "marker": "s", "markersize": 5, "linewidth": 1.4, "linestyle": "--"}
"""Colours of Okabe and Ito; marker, filling and line differ, too, for the colour-blind and in grey."""

_ALONE: Any = {"marker": "D", "markersize": 12, "markerfacecolor": "none", "markeredgewidth": 1.4, "linestyle": "none"}
_PART = "a part alone"
_ENDS = {"accurate": 0.0, "robust": 1.0}
_BESIDE = 0.006
"""The two errors of a weight stand beside one another, so that no interval hides the other."""


def mixture_picture(pair: Pair, name: str, scale: str = "") -> Picture | None:
    """Clean and attacked error over alpha with Wilson's 95 % intervals, the parts alone, and the knee at one half.

    Args:
        pair: the mixtures.
        name: of the file.
        scale: added to the title.

    Returns:
        The picture; None of fewer than two weights, or without an attack that all points were measured under.
    """
    radius, points = pair.radius_drawn(), pair.over_alpha
    if radius is None or len(points) < 2:
        return None
    attacked = f"{_worst(pair)} at {radius} levels"

    def draw(drawing: Drawing, grid_of_axes: Any) -> list[str]:
        axes = grid_of_axes[0, 0]
        axes.axvline(KNEE, color="#444444", linewidth=1, linestyle=":", zorder=1)
        words = []
        for label, style, side in (("clean", _CLEAN, -1), (attacked, _ATTACKED, 1)):
            words += _draw_series(axes, pair, label, style, side, None if side < 0 else radius)
        _mark_parts(axes, pair, radius)
        _finish(axes, pair)
        handles, labels = axes.get_legend_handles_labels()
        order = sorted(range(len(labels)), key=lambda number: labels[number] == _PART)
        drawing.legend([handles[each] for each in order], [labels[each] for each in order],
                       loc="outside upper left", ncols=4, fontsize=8, frameon=False)  # fmt: skip
        return words

    title = f"Error of the mixture over the weight alpha of its robust part, 95 % intervals{scale}"
    return picture(name, title, (1, 1), (6.6 + 0.8 * len(pair.others), 4.2), draw)


def _worst(pair: Pair) -> str:
    return "worst case of the attacks" if pair.worst_case else f"under {pair.attack}"


def _counts(point: Point, radius: int | None) -> Counts:
    return point.clean if radius is None else point.attacked[radius]


def _draw_series(axes: Axes, pair: Pair, label: str, style: Any, side: int, radius: int | None) -> list[str]:
    """One error of all points: those with a weight joined by a line, the others behind them."""
    points = pair.over_alpha
    places = [float(each.alpha or 0.0) + side * _BESIDE for each in points]
    _draw_errors(axes, places, [_counts(each, radius) for each in points], {**style, "label": label})
    for number, each in enumerate(pair.others):
        loose = {**style, "linestyle": "none"}
        _draw_errors(axes, [_behind(number) + side * _BESIDE], [_counts(each, radius)], loose)
    rows = [each for each in pair.rows if radius is None or radius in each.attacked]
    return [f"{label}: " + ", ".join(f"{each.label}: {_counts(each, radius).error:.2f}" for each in rows)]


def _draw_errors(axes: Axes, places: Sequence[float], counts: Sequence[Counts], style: Any) -> None:
    errors = [each.error for each in counts]
    ends = [interval(each) for each in counts]
    below = [max(0.0, error - low) for error, (low, _) in zip(errors, ends, strict=True)]
    above = [max(0.0, high - error) for error, (_, high) in zip(errors, ends, strict=True)]
    axes.errorbar(places, errors, yerr=[below, above], elinewidth=1, capsize=2, **style)


def _mark_parts(axes: Axes, pair: Pair, radius: int) -> None:
    """The parts alone, as large hollow marks around the mixture's own at 0 and 1."""
    label: str | None = _PART
    for role, point in pair.alone.items():
        found = [(_CLEAN, -1, point.clean)]
        found += [(_ATTACKED, 1, point.attacked[radius])] if radius in point.attacked else []
        for style, side, counts in found:
            place = _ENDS[role] + side * _BESIDE
            axes.plot(place, counts.error, **_ALONE, markeredgecolor=style["color"], label=label)
            label = None


def _behind(number: int) -> float:
    """Where on the axis a mixture without a fixed weight stands."""
    return 1.16 + 0.16 * number


def _finish(axes: Axes, pair: Pair) -> None:
    ticks = {each / 10: f"{each / 10:g}" for each in range(0, 11, 2)} | {KNEE: "0.5"}
    ticks |= {_behind(number): textwrap.fill(each.label, 12) for number, each in enumerate(pair.others)}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_xlim(-0.06, _behind(len(pair.others) - 1) + 0.1 if pair.others else 1.06)
    axes.set_ylim(-3, 103)
    axes.set(xlabel="alpha: weight of the robust part's probabilities", ylabel="error, %")
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    upwards = axes.get_xaxis_transform()
    for text, place in (("knee: 1/2", KNEE), *((f"{role} part", end) for role, end in _ENDS.items())):
        axes.text(place, 1.02, text, transform=upwards, ha="center", va="bottom", fontsize=8)
