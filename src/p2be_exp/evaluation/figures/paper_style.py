"""The style of a two-column paper, put on a figure that was made for a screen."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

COLUMN, PAGE = 3.3, 6.9
"""Widths in inches of a column, and of a figure across both."""

FONT = 7.0
"""Points; the smallest that journals accept, and what everything is set in."""

_HEIGHT, _HIGHEST = 0.6, 9.0
"""How much of its height a figure keeps at least, since rows of text need less in the smaller font; and a page's."""

_LETTER, _LINE = 0.052, 0.145
"""Inches that a letter of a legend takes in width, and a line of it in height."""

_THINNER = 0.75

_ACROSS = 3
"""Columns of axes from which on a figure goes across the page."""


def for_paper(figure: Figure, across: bool | None = None) -> None:
    """Change a figure to the size and the fonts of a paper: a column or a page wide, its title left to the caption.

    A legend beside the axes goes beneath them, where it costs no width; a colour bar goes where the numbers are written
    in the cells. The figure is changed in place.

    Args:
        figure: with constrained layout, which places everything anew.
        across: whether it is a page wide; None: where three plots or more stand side by side.
    """
    width, height = figure.get_size_inches()
    grids = [axes.get_gridspec() for axes in figure.axes]
    if across is None:
        across = any(grid is not None and grid.ncols >= _ACROSS for grid in grids)
    wanted = PAGE if across else COLUMN
    figure.set_size_inches(wanted, min(_HIGHEST, height * max(_HEIGHT, min(1.0, wanted / width))))
    figure.suptitle("")
    for axes in list(figure.axes):
        if len(axes.images) == 1 and axes.images[0].colorbar is not None and axes.texts:
            axes.images[0].colorbar.remove()
    for text in figure.findobj(Text):
        text.set_fontsize(FONT)  # type: ignore[attr-defined]
    for axes in figure.axes:
        _thinner(axes)
    if (engine := figure.get_layout_engine()) is not None:
        engine.set(w_pad=0.03, h_pad=0.03)  # type: ignore[call-arg]
    _legends_beneath(figure)
    _room_for_values(figure)


def _thinner(axes: Axes) -> None:
    for line in axes.lines:
        line.set_linewidth(_THINNER * line.get_linewidth())
        line.set_markersize(_THINNER * line.get_markersize())
    for spine in axes.spines.values():
        spine.set_linewidth(0.6)


def _legends_beneath(figure: Figure) -> None:
    """The legends that stand beside the axes go to the foot of the figure, which becomes higher by as much."""
    of_axes = [axes.get_legend() for axes in figure.axes if _is_outside(axes)]
    for legend in [*figure.legends, *filter(None, of_axes)]:
        labels = [text.get_text() for text in legend.get_texts()]
        handles, title = [each for each in legend.legend_handles if each], legend.get_title().get_text()
        legend.remove()
        width, height = figure.get_size_inches()
        columns = max(1, min(len(labels), int(width / (0.35 + _LETTER * max(map(len, labels))))))
        rows = -(-len(labels) // columns) + bool(title)
        figure.set_size_inches(width, height + _LINE * rows)
        figure.legend(handles, labels, title=title or None, loc="outside lower center", ncols=columns, frameon=False,
                      fontsize=FONT, title_fontsize=FONT, handlelength=1.6, columnspacing=1.0)  # fmt: skip


def _is_outside(axes: Axes) -> bool:
    """Whether axes have a legend that stands beside them."""
    legend: Any = axes.get_legend()
    return legend is not None and axes.transAxes.inverted().transform(legend.get_bbox_to_anchor().p0)[0] >= 1


def _room_for_values(figure: Figure) -> None:
    """Where values are written behind bars, the axis is as long as they need."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        left, width = axes.bbox.x0, axes.bbox.width
        factors = [1.0]
        for text in axes.texts:
            if isinstance(text, Annotation):
                end = axes.transData.transform(text.xy)[0]
                behind = text.get_window_extent().x1 - end
                factors.append((end - left) / max(1.0, width - behind))
        low, high = axes.get_xlim()
        axes.set_xlim(low, low + max(factors) * (high - low))
