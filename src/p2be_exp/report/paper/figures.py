"""The report's figures: differences with their intervals, corruptions one by one, and errors along M and lambda."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from numpy.typing import NDArray

from p2be_exp.corruptions.names import TEST
from p2be_exp.evaluation.figures.canvas import new_figure
from p2be_exp.evaluation.figures.paper_style import for_paper
from p2be_exp.evaluation.figures.saving import write_figure
from p2be_exp.report.paper.cells import Cell, Table
from p2be_exp.report.paper.grid import Grid, difference
from p2be_exp.report.paper.keys import Key, Measure, format_value, natural
from p2be_exp.report.paper.measures import value

STYLES = {
    "rgb": ("#000000", "o"),
    "onehot": ("#D55E00", "s"),
    "thermometer": ("#0072B2", "^"),
    "p2be": ("#009E73", "D"),
}
"""Colour (Okabe and Ito) and marker of the encodings, distinguishable for the colour-blind and in grey."""

_OTHERS = (("#CC79A7", "v"), ("#56B4E9", "P"), ("#E69F00", "X"), ("#8C8C8C", "*"), ("#444444", "<"), ("#999933", ">"))
_SETTINGS: Any = {"svg.hashsalt": "p2be", "svg.fonttype": "path", "font.size": 9, "axes.spines.top": False,
             "axes.spines.right": False}  # fmt: skip
_BROAD = 8.5
"""Inches from which on a figure has a row of the page for itself."""

_ACROSS = 4.5
"""Inches from which on a figure goes across both columns of a paper."""


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Attributes:
        name: of the file, without its ending.
        title: what it shows.
        alt: the same in words, with the numbers where they are few.
        svg: the picture.
        drawn: draws it again, for files of other kinds.
    """

    name: str
    title: str
    alt: str
    svg: str
    drawn: Callable[[], Drawing] = field(compare=False, repr=False)

    @property
    def width(self) -> float:
        """In CSS pixels."""
        found = re.match(r'<svg[^>]*?\swidth="([\d.]+)pt"', self.svg)
        return round(float(found[1]) * 96 / 72) if found else 0

    @property
    def is_broad(self) -> bool:
        """Whether it needs the whole width of a page on a screen."""
        return self.width > 96 * _BROAD

    def as_file(self, kind: str) -> bytes:
        """The picture as ``png`` for a screen, or as ``pdf`` in the style of a paper."""
        with matplotlib.rc_context(_SETTINGS):
            drawing = self.drawn()
            if kind == "pdf":
                for_paper(drawing, across=drawing.get_figwidth() > _ACROSS)
            file = io.BytesIO()
            write_figure(drawing, file, kind, dpi=200)
        return file.getvalue()


Draw = Callable[[Drawing, Any], Iterable[str]]
"""Draws on a figure and its axes, ``(rows, columns)``; returns the numbers in words."""


def picture(
    name: str, title: str, shape: tuple[int, int], size: tuple[float, float], draw: Draw, **more: Any
) -> Picture:
    """A figure as SVG text, the same for the same numbers.

    Args:
        name, title: see :class:`Picture`.
        shape: rows and columns of axes.
        size: width and height in inches.
        draw: what is drawn on them.
        more: for Matplotlib's ``subplots``.
    """
    text = io.StringIO()
    words: list[str] = []

    def drawn() -> Drawing:
        drawing, axes = new_figure(*shape, figsize=size, squeeze=False, layout="constrained", **more)
        words[:] = draw(drawing, axes)
        return drawing

    with matplotlib.rc_context(_SETTINGS):
        drawn().savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return Picture(name, title, f"{title}. {'; '.join(words)}.", svg[svg.index("<svg") :], drawn)


def table_pictures(table: Table, grid: Grid) -> list[Picture]:
    """The pictures that a table's numbers allow."""
    scale = "" if table.full else " (small scale or another recipe: see the table)"
    kinds = {"differences": _differences, "corruptions": _by_corruption, "curves": _along_m, "heat_maps": _heat_maps}
    return [each for kind in table.spec.pictures for each in kinds[kind](table, grid, scale)]


# -- differences ------------------------------------------------------------------------------------------------------


def _differences(table: Table, grid: Grid, scale: str) -> list[Picture]:
    spec = table.spec
    columns = {column: [cell for cell in table.of_column(column) if _has_interval(cell)] for column in table.columns}
    columns = {column: cells for column, cells in columns.items() if cells}
    if not columns:
        return []
    shown = {(cell.key.block, cell.key.row) for cells in columns.values() for cell in cells}
    order = [(block, row) for block, rows in table.blocks.items() for row in rows if (block, row) in shown]
    names = [f"{spec.row_label(row)}, {spec.block_label(block)}" for block, row in order]

    def draw(drawing: Drawing, grid_of_axes: Any) -> list[str]:
        for axes, (column, cells) in zip(grid_of_axes[0], columns.items(), strict=True):
            _draw_differences(axes, cells, order)
            axes.set_title(spec.column_label(column), fontsize=9)
            axes.set_xlabel(f"difference to {spec.against}, points")
        grid_of_axes[0, 0].set_yticks(range(len(order)), names)
        grid_of_axes[0, 0].set_ylim(len(order) - 0.4, -0.6)
        return [
            f"{spec.row_label(cell.key.row)} on {spec.block_label(cell.key.block)}, {spec.column_label(column)}: "
            f"{difference(cell.compared)}"
            for column, cells in columns.items()
            for cell in cells
        ]

    title = f"{grid.heading.partition(':')[0]}: differences to {spec.against}, 95 % intervals{scale}"
    size = 0.5 + 0.065 * max(map(len, names)) + 2.7 * len(columns), 1.3 + 0.3 * len(order)
    return [picture(f"{grid.id}-differences", title, (1, len(columns)), size, draw, sharey=True)]


def _draw_differences(axes: Axes, cells: Sequence[Cell], order: Sequence[tuple[Key, Key]]) -> None:
    axes.axvline(0, color="#444444", linewidth=0.8)
    for cell in cells:
        if (found := cell.compared) is None:
            continue
        height = order.index((cell.key.block, cell.key.row))
        colour, marker = style_of(cell.key.row)
        axes.plot(np.array([found.low, found.high], dtype=float), [height, height], color=colour, linewidth=1.6)
        # Hollow: about two networks, not about the methods.
        face = "white" if found.kind == "networks" else colour
        axes.plot(found.difference, height, marker=marker, color=colour, markerfacecolor=face, markersize=6)
    axes.tick_params(axis="y", length=0)
    _ruled(axes, "x")


def _has_interval(cell: Cell) -> bool:
    return cell.compared is not None and cell.compared.low is not None


def style_of(key: Key, number: int = 0) -> tuple[str, str]:
    """Colour and marker of a row: its encoding's, else one of others by number."""
    encoding = key.within[0] if key.within else key.name  # a method's row is one of an encoding, too
    return STYLES.get(encoding) or _OTHERS[number % len(_OTHERS)]


def _ruled(axes: Axes, along: Any) -> None:
    """Thin lines behind the numbers."""
    axes.grid(axis=along, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)


# -- corruption by corruption -----------------------------------------------------------------------------------------


def _by_corruption(table: Table, grid: Grid, scale: str) -> list[Picture]:
    spec = table.spec
    errors = {
        block: {row: found for row, cells in rows.items() if (found := _errors(cells))}
        for block, rows in table.blocks.items()
    }
    errors = {block: rows for block, rows in errors.items() if rows}
    names = [name for name in TEST if any(name in of for rows in errors.values() for of in rows.values())]
    if not names:
        return []

    def draw(drawing: Drawing, grid_of_axes: Any) -> list[str]:
        for axes, (block, rows) in zip(grid_of_axes[:, 0], errors.items(), strict=True):
            for number, (row, of) in enumerate(rows.items()):
                colour, marker = style_of(row, number)
                places = [names.index(name) + (number - (len(rows) - 1) / 2) * 0.16 for name in of]
                means = [float(np.mean(each)) for each in of.values()]
                spread = [float(np.std(each, ddof=1)) if len(each) > 1 else 0.0 for each in of.values()]
                axes.errorbar(places, means, yerr=spread, fmt=marker, color=colour, markersize=4.5, elinewidth=1,
                              label=spec.row_label(row))  # fmt: skip
            axes.set(title=spec.block_label(block), ylabel="error, %")
            axes.margins(y=0.12)
            _ruled(axes, "y")
        grid_of_axes[0, 0].legend(ncols=columns, fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1.12))
        ticks = [name.replace("_", " ") for name in names]
        grid_of_axes[-1, 0].set_xticks(range(len(names)), ticks, rotation=40, ha="right")
        return [
            f"{spec.row_label(row)} on {spec.block_label(block)}: "
            + ", ".join(f"{name.replace('_', ' ')} {np.mean(of[name]):.1f}" for name in names if name in of)
            for block, rows in errors.items()
            for row, of in rows.items()
        ]

    title = f"Error by corruption, mean over severities and seeds; bars: standard deviation over seeds{scale}"
    labels = {spec.row_label(row) for rows in errors.values() for row in rows}
    width = max(5.5, 3 + 0.45 * len(names))
    # The inches of the axes, of a mark and of a character: what is too wide would leave the axes no room.
    columns = max(1, min(4, int((width - 1) / (0.5 + 0.07 * max(map(len, labels))))))
    size = width, 0.7 + 2.3 * len(errors) + 0.2 * math.ceil(len(labels) / columns)
    return [picture(f"{grid.id}-corruptions", title, (len(errors), 1), size, draw, sharex=True)]


def _errors(cells: dict[Key, Cell]) -> dict[str, list[float]]:
    """By corruption, the errors of the seeds of a row."""
    cell = next(cell for cell in cells.values() if cell.key.measure.kind in ("corruption", "mce"))
    runs = [result for result, _ in cell.runs.values()]
    found = {name: [value(result, Measure("error", name)) for result in runs] for name in TEST}
    known = {name: [each for each in errors if each is not None] for name, errors in found.items()}
    return {name: errors for name, errors in known.items() if errors and len(errors) == len(runs)}


# -- along M and lambda -----------------------------------------------------------------------------------------------


def _along_m(table: Table, grid: Grid, scale: str) -> list[Picture]:
    lengths = sorted({_along(cell.key.row) for cell in table.cells})

    def draw(drawing: Drawing, grid_of_axes: Any) -> list[str]:
        words = []
        for axes, column in zip(grid_of_axes[0], table.columns, strict=True):
            words += _draw_along_m(axes, table, column)
            axes.set(xlabel="M", title=f"{table.spec.column_label(column)}, %", xscale="log")
            axes.set_xticks(lengths, [str(each) for each in lengths])
            axes.minorticks_off()
            axes.margins(x=0.1, y=0.2)
            axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
        if len(table.blocks) > 1:
            drawing.legend(*grid_of_axes[0, 0].get_legend_handles_labels(), fontsize=8, frameon=False, ncols=2,
                           loc="outside lower left")  # fmt: skip
        else:
            drawing.suptitle(table.spec.block_label(next(iter(table.blocks))), fontsize=9)
        return words

    size = 1 + 3.6 * len(table.columns), 3 + 0.12 * len(table.blocks)
    title = f"Error by M; bars: standard deviation over seeds{scale}"
    return [picture(grid.id, title, (1, len(table.columns)), size, draw)]


def _along(key: Key) -> Any:
    """The value of the setting, in a table by M or lambda."""
    assert key.setting is not None
    return key.setting.value


def _draw_along_m(axes: Axes, table: Table, column: Key) -> list[str]:
    words = []
    for number, (block, rows) in enumerate(table.blocks.items()):
        cells = {_along(row): of[column] for row, of in rows.items() if of[column].runs}
        if not cells:
            continue
        label = table.spec.block_label(block)
        colour, marker = _OTHERS[(number - 1) % len(_OTHERS)] if number else style_of(block)
        means, spread = [cell.mean or 0.0 for cell in cells.values()], [cell.sd or 0.0 for cell in cells.values()]
        axes.errorbar(list(cells), means, yerr=spread, marker=marker, color=colour, capsize=3, label=label)
        numbers = ", ".join(f"M = {length}: {mean:.2f}" for length, mean in zip(cells, means, strict=True))
        words.append(f"{label}, {table.spec.column_label(column)}: {numbers}")
    return words


def _heat_maps(table: Table, grid: Grid, scale: str) -> list[Picture]:
    """For each network and data set an error over M and lambda, where there are several lambdas."""
    groups: dict[Key, list[Key]] = {}
    for block in table.blocks:
        groups.setdefault(replace(block, setting=None), []).append(block)
    found: list[Picture] = []
    for group, blocks in groups.items():
        weights = sorted({row for block in blocks for row in table.blocks[block]}, key=natural)
        matrices = {column: _matrix(table, blocks, weights, column) for column in table.columns}
        maps = {table.spec.column_label(of): each for of, each in matrices.items() if np.isfinite(each).any()}
        if len(weights) > 1 and maps:
            title = f"Error over M and lambda, {table.spec.block_label(group)}; mean over seeds{scale}"
            lengths, names = ([format_value(_along(key)) for key in keys] for keys in (blocks, weights))
            found.append(_heat_map(f"{grid.id}-{len(found) + 1}", title, lengths, names, maps))
    return found


def _matrix(table: Table, blocks: Sequence[Key], weights: Sequence[Key], column: Key) -> NDArray[np.float64]:
    cells = [[table.blocks[block].get(weight, {}).get(column) for weight in weights] for block in blocks]
    return np.array([[cell.mean if cell and cell.runs else np.nan for cell in row] for row in cells], dtype=float)


def _heat_map(
    name: str, title: str, lengths: Sequence[str], weights: Sequence[str], matrices: dict[str, NDArray[np.float64]]
) -> Picture:
    """One map for each measure: M downwards, lambda to the right."""

    def draw(drawing: Drawing, grid_of_axes: Any) -> list[str]:
        words = []
        for axes, (label, matrix) in zip(grid_of_axes[0], matrices.items(), strict=True):
            axes.imshow(np.ma.masked_invalid(matrix), cmap="cividis", aspect="auto")
            axes.set(title=f"{label}, %", xlabel="lambda", ylabel="M")
            axes.set_xticks(range(len(weights)), weights)
            axes.set_yticks(range(len(lengths)), lengths)
            axes.spines[:].set_visible(False)
            middle = (np.nanmin(matrix) + np.nanmax(matrix)) / 2
            for (y, x), error in np.ndenumerate(matrix):
                text = "missing" if np.isnan(error) else f"{error:.2f}"
                dark = np.isnan(error) or error > middle
                axes.text(x, y, text, ha="center", va="center", color="black" if dark else "white", fontsize=8)
                words.append(f"{label} at M = {lengths[y]}, lambda = {weights[x]}: {text}")
        return words

    size = (1.4 + 0.75 * len(weights)) * len(matrices), 1.5 + 0.5 * len(lengths)
    return picture(name, title, (1, len(matrices)), size, draw)
