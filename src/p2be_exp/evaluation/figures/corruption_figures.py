"""Figures of the errors under corruptions: a heat map, one bar per corruption, one line per category over severity."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from p2be_exp.corruptions.names import ALL, CATEGORIES, EXTRA, TEST, category_of
from p2be_exp.evaluation.figures.canvas import new_figure
from p2be_exp.evaluation.figures.saving import PNG, save_figure

COLOURS = {"noise": "#D55E00", "blur": "#0072B2", "weather": "#009E73", "digital": "#CC79A7", "extra": "#8C8C8C"}
"""Colours of the categories, from the palette of Okabe and Ito, which the colour-blind can distinguish."""

_MISSING = "#E4E4E4"
_DARK = 44
"""Error in percent below which white text has more contrast on a cell's colour than black."""

_Z_95 = 1.959963984540054
"""Quantile of the standard normal distribution at 0.975."""


@dataclass(frozen=True)
class CorruptionErrors:
    """The errors of one evaluation as a matrix.

    Attributes:
        names: corruptions, in the published order; including requested ones that are missing.
        severities: ascending.
        error, low, high: percent, ``(names, severities)``, NaN where nothing was measured; the interval is Wilson's.
        clean: error on clean images in percent, if it was measured.
    """

    names: tuple[str, ...]
    severities: tuple[int, ...]
    error: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    clean: float | None

    def complete(self, names: Iterable[str]) -> list[int]:
        """Rows of the named corruptions that were measured at every severity: those that enter the means."""
        return [row for row, name in enumerate(self.names) if name in names and np.isfinite(self.error[row]).all()]


def corruption_errors(summary: Mapping[str, Any], rows: Iterable[Any]) -> CorruptionErrors:
    """Put the rows of an evaluation into a matrix.

    Args:
        summary: content of ``results.json``. ``clean_error`` is read from it, and from its section ``corruptions``,
            where there is one, ``left_out`` and ``unfinished``: requested corruptions, and ``severities``.
        rows: :class:`~p2be_exp.evaluation.results.Row` or dictionaries with ``name``, ``severity``, ``error``,
            ``ci_low`` and ``ci_high``; rows without severity (clean images, attacks) are skipped.
    """
    plain = [asdict(cast("Any", row)) if is_dataclass(row) else row for row in rows]
    cells = {(row["name"], int(row["severity"])): row for row in plain if row["severity"]}
    section = summary.get("corruptions") or {}
    requested = {*section.get("left_out", ()), *section.get("unfinished", ())}
    names = tuple(name for name in ALL if name in requested or any(name == of for of, _ in cells))
    severities = tuple(sorted({*(severity for _, severity in cells), *section.get("severities", ())}))
    error, low, high = (np.full((len(names), len(severities)), np.nan) for _ in range(3))
    for (name, severity), row in cells.items():
        cell = names.index(name), severities.index(severity)
        error[cell], low[cell], high[cell] = row["error"], row["ci_low"], row["ci_high"]
    return CorruptionErrors(names, severities, error, low, high, summary.get("clean_error"))


def draw_corruption_figures(
    summary: Mapping[str, Any],
    rows: Iterable[Any],
    folder: Path,
    title: str = "",
    wrong: Mapping[str, NDArray[np.bool_]] | None = None,
    kinds: Sequence[str] = PNG,
) -> list[Path]:
    """Draw ``corruption_heatmap.png``, ``corruption_bars.png`` and ``error_over_severity.png``.

    Args:
        summary, rows: see :func:`corruption_errors`.
        folder: where the files go.
        title: names the model, the data set and the source of corrupted images.
        wrong: by condition, bool ``(images,)``: which images were misclassified; for the intervals of the bars,
            see :func:`mean_interval`.
        kinds: of the files, see :func:`p2be_exp.evaluation.figures.saving.save_figure`.

    Returns:
        The files; none where no corruption was measured.
    """
    errors = corruption_errors(summary, rows)
    if not np.isfinite(errors.error).any():
        return []
    drawn = {
        "corruption_heatmap.png": heatmap(errors, title),
        "corruption_bars.png": bars(errors, title, wrong),
        "error_over_severity.png": over_severity(errors, title),
    }
    return [file for name, figure in drawn.items() for file in save_figure(figure, Path(folder) / name, kinds, dpi=150)]


def mean_interval(
    errors: CorruptionErrors, row: int, wrong: Mapping[str, NDArray[np.bool_]] | None = None
) -> tuple[float, float]:
    """95 % interval of one corruption's mean error over the severities that were measured, in percent.

    The severities show the same images, so the cells are not independent, and their images must not be pooled into one
    proportion. Given the images, each contributes one number, the share of severities at which it was wrong, and the
    interval is the normal one of the mean of these. Without them it is the mean of the cells' own intervals, as if the
    cells were fully correlated: the most conservative choice. For one severity it is the cell's own interval.

    Args:
        errors: the cells.
        row: the corruption's row in them.
        wrong: by condition, bool ``(images,)``.
    """
    measured = np.flatnonzero(np.isfinite(errors.error[row]))
    conditions = [f"corruption/{errors.names[row]}/{errors.severities[column]}" for column in measured]
    if wrong is None or len(measured) == 1 or not all(condition in wrong for condition in conditions):
        return float(errors.low[row, measured].mean()), float(errors.high[row, measured].mean())
    shares = np.mean([wrong[condition] for condition in conditions], axis=0)
    half = _Z_95 * shares.std(ddof=1) / np.sqrt(len(shares)) if len(shares) > 1 else 1.0
    return max(0.0, 100 * (shares.mean() - half)), min(100.0, 100 * (shares.mean() + half))


# -- every cell -------------------------------------------------------------------------------------------------------


def heatmap(errors: CorruptionErrors, title: str = "") -> Figure:
    """Error of every corruption (rows) at every severity (columns), written in the cells; the caller closes it."""
    rows, columns = errors.error.shape
    figure, axes = new_figure(figsize=(3.9 + 0.66 * columns, 1.5 + 0.33 * rows), layout="constrained")
    colours = matplotlib.colormaps["viridis"].with_extremes(bad=_MISSING)
    image = axes.imshow(np.ma.masked_invalid(errors.error), vmin=0, vmax=100, cmap=colours, aspect="auto")
    for (row, column), error in np.ndenumerate(errors.error):
        text, colour = ("–", "#555555") if np.isnan(error) else (f"{error:.1f}", "w" if error < _DARK else "k")
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(columns), errors.severities)
    axes.set_yticks(range(rows), [_words(name) for name in errors.names])
    axes.set_xlabel("severity")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for category, first, last in _blocks(errors.names):
        if first:
            axes.axhline(first - 0.5, color="w", linewidth=4)
        _label_block(axes, category, first, last)
    figure.colorbar(image, label="error %", aspect=max(8, 2 * rows), pad=0.16 if columns < 3 else 0.1)
    _entitle(figure, title, ["grey: not measured"] if np.isnan(errors.error).any() else [])
    return figure


# -- one bar per corruption -------------------------------------------------------------------------------------------


def bars(errors: CorruptionErrors, title: str = "", wrong: Mapping[str, NDArray[np.bool_]] | None = None) -> Figure:
    """Mean error over severities of every corruption, with its interval; the caller closes it."""
    rows = [row for row in range(len(errors.names)) if np.isfinite(errors.error[row]).any()]
    names = [errors.names[row] for row in rows]
    figure, axes = new_figure(figsize=(7.2, 1.9 + 0.33 * len(rows)), layout="constrained")
    ends = []
    for position, row in enumerate(rows):
        mean = float(np.nanmean(errors.error[row]))
        low, high = mean_interval(errors, row, wrong)
        axes.barh(position, mean, height=0.72, color=COLOURS[category_of(errors.names[row])])
        axes.errorbar(
            mean, position, xerr=[[max(0, mean - low)], [max(0, high - mean)]], color="k", linewidth=1, capsize=2.5
        )
        _write_value(axes, mean, (high, position))
        ends.append(high)
    if errors.clean is not None:
        axes.axvline(errors.clean, color="k", linestyle="--", linewidth=1, label=f"clean images: {errors.clean:.1f} %")
        ends.append(errors.clean)
        figure.legend(loc="outside lower right", frameon=False, fontsize=9)
    axes.set_yticks(range(len(rows)), [_bar_label(errors, row) for row in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=(0, 1.1 * max(*ends, 1)))
    over = "mean over" if len(errors.severities) > 1 else "at"
    axes.set_xlabel(f"error %, {over} {_severities(errors.severities)}, with 95 % interval")
    _plain(axes, grid="x")
    for category, first, last in _blocks(names):
        if first:
            axes.axhline(first - 0.5, color="#BBBBBB", linewidth=0.8)
        _label_block(axes, category, first, last)
    unmeasured = [_words(name) for name in errors.names if name not in names]
    _entitle(figure, title, [f"not measured: {', '.join(unmeasured)}"] if unmeasured else [])
    return figure


def _write_value(axes: Axes, value: float, after: tuple[float, float]) -> None:
    """Write a value after the end of a bar, readable where it crosses the line of the clean images."""
    box = {"facecolor": "w", "edgecolor": "none", "pad": 0.8}
    axes.annotate(
        f"{value:.1f}", after, xytext=(5, 0), textcoords="offset points", va="center", fontsize=9, bbox=box, zorder=3
    )


def _bar_label(errors: CorruptionErrors, row: int) -> str:
    measured = [errors.severities[column] for column in np.flatnonzero(np.isfinite(errors.error[row]))]
    name = _words(errors.names[row])
    return name if len(measured) == len(errors.severities) else f"{name}\n({_severities(measured)} only)"


# -- one line per category --------------------------------------------------------------------------------------------


def over_severity(errors: CorruptionErrors, title: str = "") -> Figure:
    """Mean error of every category, and of all fifteen corruptions, at every severity; the caller closes it.

    The means are over the corruptions that were measured at every severity, so that a line covers the same corruptions
    throughout; its label says how many.
    """
    figure, axes = new_figure(figsize=(7.2, 4.2), layout="constrained")
    clean = [] if errors.clean is None else [errors.clean]
    severities = [0] * len(clean) + list(errors.severities)
    drawn: list[list[int]] = []
    for label, names, style in _lines():
        rows = errors.complete(names)
        if rows and rows not in drawn:  # the mean over a single category is that category's line
            drawn.append(rows)
            legend = f"{label} ({len(rows)} of {len(names)})"
            axes.plot(severities, clean + list(errors.error[rows].mean(axis=0)), label=legend, **style)
    axes.set_xticks(severities, ["clean" if severity == 0 else str(severity) for severity in severities])
    axes.set(xlabel="severity", ylabel="error %", xlim=(min(severities) - 0.25, max(severities) + 0.25))
    axes.set_ylim(bottom=0)
    _plain(axes, grid="y")
    if axes.lines:
        figure.legend(loc="outside right center", frameon=False, title="mean over corruptions", fontsize=9)
    partly = set(range(len(errors.names))) - set(errors.complete(ALL))
    excluded = [_words(errors.names[row]) for row in sorted(partly)]
    _entitle(figure, title, [f"in no mean, not measured at every severity: {', '.join(excluded)}"] if excluded else [])
    return figure


def _lines() -> list[tuple[str, Sequence[str], dict[str, Any]]]:
    """Label, corruptions and style of every line; the mean last, so that it is drawn on top."""
    categories = {**CATEGORIES, "extra": EXTRA}
    markers = dict(zip(categories, "osD^v", strict=True))
    lines: list[tuple[str, Sequence[str], dict[str, Any]]] = [
        (category, names, {"color": COLOURS[category], "marker": markers[category], "markersize": 5})
        for category, names in categories.items()
    ]
    return [*lines, ("mean", TEST, {"color": "k", "linewidth": 2.5, "marker": "."})]


# -- shared -----------------------------------------------------------------------------------------------------------


def _blocks(names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Category, first and last position of every group of corruptions."""
    positions: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        positions.setdefault(category_of(name), []).append(position)
    return [(category, min(members), max(members)) for category, members in positions.items()]


def _label_block(axes: Axes, category: str, first: int, last: int) -> None:
    """Draw a category's name and a coloured line to the right of its rows."""
    where = axes.get_yaxis_transform()
    style: dict[str, Any] = {"transform": where, "clip_on": False}
    axes.plot([1.02, 1.02], [first - 0.4, last + 0.4], color=COLOURS[category], linewidth=4, **style)
    axes.text(1.045, (first + last) / 2, category, va="center", fontsize=9, **style)


def _plain(axes: Axes, grid: Literal["x", "y"]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#DDDDDD", linewidth=0.8)
    axes.set_axisbelow(True)


def _entitle(figure: Figure, title: str, remarks: Sequence[str]) -> None:
    width = int(12 * figure.get_figwidth())  # characters of this size
    lines = [line for text in [*title.splitlines(), *remarks] for line in textwrap.wrap(text, width)]
    figure.suptitle("\n".join(lines), fontsize=10)
    cast("Any", figure.get_layout_engine()).set(w_pad=0.1, h_pad=0.08)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _severities(severities: Sequence[int]) -> str:
    consecutive = len(severities) > 2 and severities[-1] - severities[0] == len(severities) - 1
    listed = f"{severities[0]}–{severities[-1]}" if consecutive else ", ".join(map(str, severities))
    return f"severit{'y' if len(severities) == 1 else 'ies'} {listed}"
