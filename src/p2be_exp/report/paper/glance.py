"""The paper's tables at a glance: a dot plot of what was measured, with intervals, and of what is published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D

from p2be_exp.report.paper.cells import Cell, Table
from p2be_exp.report.paper.figures import Picture, picture, style_of
from p2be_exp.report.paper.measures import interval_over_images
from p2be_exp.statistics.intervals import mean_interval

_PUBLISHED, _APART = "#000000", "#8C8C8C"
_BESIDE = 0.17
"""Ours stands above, the published value below the middle of a row, so that neither hides the other."""


@dataclass(frozen=True)
class Dot:
    """One cell.

    Attributes:
        ours: mean over seeds in percent; None where nothing was measured.
        low, high: its 95 % interval; None where there is none.
        one_network: whether that is about the test images of one network, not about seeds.
        published: percent; None where the paper has no number.
        sd: the published standard deviation.
    """

    ours: float | None = None
    low: float | None = None
    high: float | None = None
    one_network: bool = False
    published: float | None = None
    sd: float | None = None


@dataclass(frozen=True)
class Panel:
    """One table.

    Attributes:
        title: of the table.
        columns: what is measured in each, in words.
        rows: label, colour and marker, and a dot for each column.
        comparable: whether ours and the published values are the same measurement.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, str], tuple[Dot, ...]], ...]
    comparable: bool = True


def glances(tables: Iterable[Table]) -> list[Picture]:
    """A picture of the tables at full scale, and one of those that cannot be compared with the paper."""
    shown = [each for each in tables if each.spec.printed.numbers and not each.spec.corruption_a_row]
    found = []
    for full, name in ((True, "glance"), (False, "glance-departing")):
        panels = [panel_of(each) for each in shown if each.full == full]
        if panels:
            scale = "" if full else " (small scale or another recipe: not comparable)"
            title = f"The paper's tables at a glance: ours with 95 % intervals, and the published values{scale}"
            found.append(glance(panels, name, title))
    return found


def glance(panels: Sequence[Panel], name: str, title: str) -> Picture:
    """The picture: a row of axes a table, one a column of it; what a single network says is hollow."""
    columns = max(len(panel.columns) for panel in panels)
    heights = [len(panel.rows) + 2.5 for panel in panels]

    def draw(drawing: Drawing, grid_of_axes: Any) -> list[str]:
        words = []
        for panel, row in zip(panels, grid_of_axes, strict=True):
            for axes in row[len(panel.columns) :]:
                axes.set_visible(False)
            for number, axes in enumerate(row[: len(panel.columns)]):
                words += _draw(axes, panel, number)
            row[0].set_yticks(range(len(panel.rows)), [label for label, *_ in panel.rows])
            row[0].set_title(f"{panel.title}\n{panel.columns[0]}, %", fontsize=9, loc="left")
        per_line = 3 if columns > 2 else 2  # as many as the picture is wide enough for
        handles = list(_legend(panels))
        drawing.legend(handles=handles, loc="outside upper left", ncols=per_line, fontsize=8, frameon=False)
        return words

    size = 3.2 + 2.9 * columns, 0.6 + 0.23 * sum(heights)
    return picture(name, title, (len(panels), columns), size, draw, sharey="row", height_ratios=heights)


def panel_of(table: Table) -> Panel:
    """A table, its rows with their block's name where there are several."""
    spec, many = table.spec, len(table.blocks) > 1
    rows = []
    for block, of in table.blocks.items():
        for row, cells in of.items():
            label = f"{spec.row_label(row)}, {spec.block_label(block)}" if many else spec.row_label(row)
            rows.append((label, style_of(row), tuple(_dot(cells[column]) for column in cells)))
    columns = tuple(spec.column_label(column) for column in table.columns)
    return Panel(spec.printed.source if table.full else f"As {spec.printed.source}", columns, tuple(rows), table.full)


def _dot(cell: Cell) -> Dot:
    printed = cell.published
    published = (printed.value, printed.sd) if printed else (None, None)
    if cell.mean is None:
        return Dot(None, None, None, False, *published)
    if len(cell.runs) > 1:
        _, below, above = mean_interval(cell.values)
        return Dot(cell.mean, max(0.0, below), min(100.0, above), False, *published)  # an error is no less, and no more
    ((result, _),) = cell.runs.values()
    low, high = interval_over_images(result, cell.key.measure) or (None, None)
    return Dot(cell.mean, low, high, True, *published)


def _draw(axes: Axes, panel: Panel, column: int) -> list[str]:
    words = []
    colour = _PUBLISHED if panel.comparable else _APART
    for place, (label, (own, marker), dots) in enumerate(panel.rows):
        dot, told = dots[column], []
        if dot.ours is not None:
            if dot.low is not None and dot.high is not None:
                axes.plot([dot.low, dot.high], [place - _BESIDE] * 2, color=own, linewidth=1.4)
            face = "white" if dot.one_network else own
            axes.plot(dot.ours, place - _BESIDE, marker=marker, color=own, markerfacecolor=face, markersize=5)
            told.append(f"ours {dot.ours:.2f}" + ("" if dot.low is None else f" [{dot.low:.2f}, {dot.high:.2f}]"))
        if dot.published is not None:
            if dot.sd is not None:
                ends = [dot.published - dot.sd, dot.published + dot.sd]
                axes.plot(ends, [place + _BESIDE] * 2, color=colour, linewidth=0.8)
            axes.plot(dot.published, place + _BESIDE, marker="|", color=colour, markersize=7, markeredgewidth=1.6)
            told.append(f"published {dot.published:g}")
        if told:
            words.append(f"{panel.title}, {panel.columns[column]}, {label}: {', '.join(told)}")
    axes.set_title(f"{panel.columns[column]}, %", fontsize=9, loc="left")
    axes.set_ylim(len(panel.rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.08)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    return words


def _legend(panels: Sequence[Panel]) -> Iterable[Line2D]:
    dots = [dot for panel in panels for _, _, of in panel.rows for dot in of]
    style: Any = {"marker": "o", "color": "#0072B2", "markersize": 5}
    if any(dot.ours is not None and not dot.one_network for dot in dots):
        yield Line2D([], [], **style, label="ours: mean over seeds, 95 % interval")
    if any(dot.one_network for dot in dots):
        yield Line2D([], [], **style, markerfacecolor="white", label="ours: one network, interval over its test images")
    comparable = all(panel.comparable for panel in panels)
    label = "published, ± its standard deviation where printed" + ("" if comparable else "; grey: not comparable")
    colour = _PUBLISHED if any(panel.comparable for panel in panels) else _APART
    yield Line2D([], [], color=colour, marker="|", markersize=7, markeredgewidth=1.6, linestyle="none", label=label)
