"""The figure of what outputs hide: by radius both errors, and beneath them their difference on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from textwrap import fill
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from p2be_exp.report.paper.figures import Picture, picture
from p2be_exp.report.paper.masking import Gap, Masked
from p2be_exp.statistics.intervals import Difference, paired_t_interval

_STYLES = (
    ("#000000", "o"), ("#D55E00", "s"), ("#0072B2", "^"), ("#009E73", "D"), ("#CC79A7", "v"), ("#56B4E9", "P"),
    ("#E69F00", "X"), ("#8C8C8C", "*"),
)  # fmt: skip
"""Colour (Okabe and Ito) and marker of the methods, distinguishable for the colour-blind and in grey."""

_BESIDE = 0.11
"""Distance of the methods at a radius, where two radii are 1 apart."""

_LETTERS = 80
"""In a line of the legend, by column of plots: more are wider than these."""

Series = dict[str, dict[int, list[Gap]]]
"""By method and radius, the seeds."""


def masking_picture(rows: Sequence[Masked], name: str, scale: str = "") -> Picture:
    """Of each data set and network both errors by radius, hollow on the outputs, and the differences beneath.

    Args:
        rows: the runs, one or more; of one that was measured under several pairs of attacks the first is drawn.
        name: of the file.
        scale: added to the title.
    """
    places = _by_place(rows)
    radii = sorted({radius for series in places.values() for of in series.values() for radius in of})
    labels = list(dict.fromkeys(label for series in places.values() for label in series))

    def draw(drawing: Drawing, grid_of_axes: Any) -> list[str]:
        words = []
        for (place, series), (upper, lower) in zip(places.items(), grid_of_axes.T, strict=True):
            upper.set_title(place, fontsize=9)
            lower.axhline(0, color="#444444", linewidth=0.8)
            for label, of in series.items():
                words += _draw(upper, lower, radii, labels, label, of, place)
            lower.set_xticks(range(len(radii)), [str(radius) for radius in radii])
            lower.set(xlabel="radius, levels", xlim=(-0.5, len(radii) - 0.5))
            lower.margins(y=0.12)
            for axes in (upper, lower):
                axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
                axes.set_axisbelow(True)
        grid_of_axes[0, 0].set_ylabel("error, %\nhollow: climbing the outputs", fontsize=8)
        grid_of_axes[1, 0].set_ylabel("hidden, points", fontsize=8)
        for axes in grid_of_axes[0]:
            axes.set_ylim(-3, 103)
        named = [axes.get_legend_handles_labels() for axes in grid_of_axes[0]]
        handles = {label: handle for of in named for handle, label in zip(*of, strict=True)}
        names = [fill(label, _LETTERS * len(places)) for label in handles]
        drawing.legend(list(handles.values()), names, loc="outside upper left", fontsize=8, frameon=False)
        return words

    title = f"What the tanh hides: errors under both attacks by radius, and their difference, 95 % intervals{scale}"
    size = 1.2 + 4.6 * len(places), 4.2 + 0.2 * len(labels)
    return picture(name, title, (2, len(places)), size, draw, sharex=True, sharey="row")


def _by_place(rows: Sequence[Masked]) -> dict[str, Series]:
    found: dict[str, Series] = {}
    for each in rows:
        series = found.setdefault(each.place, {}).setdefault(each.label, {})
        for gap in each.gaps:
            if gap.attack == each.gaps[0].attack:
                series.setdefault(gap.radius, []).append(gap)
    return found


def _draw(
    upper: Axes,
    lower: Axes,
    radii: Sequence[int],
    labels: Sequence[str],
    label: str,
    of: Mapping[int, Sequence[Gap]],
    place: str,
) -> list[str]:
    number = labels.index(label)
    colour, marker = _STYLES[number % len(_STYLES)]
    shift = (number - (len(labels) - 1) / 2) * min(_BESIDE, 0.8 / len(labels))
    style: dict[str, Any] = {"marker": marker, "color": colour, "markersize": 5, "linestyle": "none"}
    words = []
    for radius, gaps in sorted(of.items()):
        x, hidden = radii.index(radius) + shift, over_seeds(gaps)
        on_outputs, on_logits = (
            fmean(getattr(gap, name).error for gap in gaps) for name in ("on_outputs", "on_logits")
        )
        upper.plot([x, x], [on_outputs, on_logits], color=colour, linewidth=1)
        upper.plot(x, on_outputs, markerfacecolor="white", **style)
        upper.plot(x, on_logits, label=label if radius == min(of) else None, **style)
        lower.plot(x, hidden.difference, **style)
        lower.plot([x, x], [hidden.low, hidden.high], color=colour, linewidth=1.6)
        words.append(
            f"{label} on {place} at {radius} levels: {on_outputs:.2f} and {on_logits:.2f}, "
            f"hidden {hidden.low:.2f} to {hidden.high:.2f}"
        )
    return words


def over_seeds(gaps: Sequence[Gap]) -> Difference:
    """What is hidden at one radius: of one network with the interval over images, of several over their seeds.

    Without an interval the ends are the difference itself.
    """
    if len(gaps) > 1:
        return paired_t_interval([each.on_outputs.error for each in gaps], [each.on_logits.error for each in gaps])
    (one,) = gaps
    return one.hidden or Difference(one.points, one.points, one.points)
