"""Draw the README's picture: the attack table of a run as a terminal shows it, beside its heat map of corruptions.

python train.py experiment=quickstart hydra.run.dir=RUN
python docs/images/first_screen.py RUN docs/images/first_screen.png
"""

from __future__ import annotations

import argparse
import csv
import json
import textwrap
from io import BytesIO
from itertools import groupby
from pathlib import Path

import matplotlib.image
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from p2be_exp.evaluation.figures.canvas import new_figure
from p2be_exp.evaluation.figures.corruption_figures import corruption_errors, heatmap
from p2be_exp.evaluation.table import results_table

WIDTH = 76
"""Columns of the terminal: the table without its last column, the gradients."""

_NUMBERS = ("error", "ci_low", "ci_high")
_BACKGROUND, _TEXT = "#1E1E2E", "#E6E6E6"
_COLOURS = {"ok": "#7EC699", "suspicious": "#F0C674", "failed": "#F08080", "not measured": "#9A9AA8"}
_POINTS_A_LINE = 12.5
_MARGIN = 0.25  # inches around the text


def terminal_lines(results: dict) -> list[str]:
    """The head of the printed table, down to the verdicts of the sanity panel, no wider than the terminal.

    Args:
        results: content of ``results.json``.
    """
    head, _, _ = results_table(results).partition("\n\nerror % at severity")
    lines: list[str] = []
    for detail, several in groupby(head.splitlines(), key=lambda line: line.startswith(" ")):
        if detail:  # of a verdict, broken for a wider terminal
            text = " ".join(line.strip() for line in several)
            lines += textwrap.wrap(text, WIDTH, initial_indent=" " * 14, subsequent_indent=" " * 14)
        else:
            lines += [line[:WIDTH].rstrip() for line in several]
    return lines


def first_screen(run: Path) -> Figure:
    """The picture of a run that was measured under attacks and corruptions.

    Args:
        run: folder with ``results.json`` and ``results.csv``.
    """
    results = json.loads((run / "results.json").read_text())
    with (run / "results.csv").open(newline="") as file:
        rows = [row | {key: _number(row[key]) for key in _NUMBERS} for row in csv.DictReader(file)]
    lines = ["$ python train.py experiment=quickstart", "...", *terminal_lines(results)]
    height = len(lines) * _POINTS_A_LINE / 72 + 2 * _MARGIN
    picture = _as_pixels(heatmap(corruption_errors(results, rows), "error under corruptions"))
    beside = height * picture.shape[1] / picture.shape[0]
    width = 6.9
    figure, (left, right) = new_figure(
        1, 2, figsize=(width + beside, height), width_ratios=(width, beside),
        gridspec_kw={"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0},
    )  # fmt: skip
    _draw_terminal(left, lines, width, height)
    right.imshow(picture, interpolation="lanczos")
    right.axis("off")
    return figure


def _draw_terminal(axes: Axes, lines: list[str], width: float, height: float) -> None:
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.add_patch(
        FancyBboxPatch(
            (0.12, 0.08), width - 0.2, height - 0.16, boxstyle="round,pad=0,rounding_size=0.1", color=_BACKGROUND
        )
    )
    for number, line in enumerate(lines):
        colour = next((of for verdict, of in _COLOURS.items() if line.startswith(f"{verdict}  ")), _TEXT)
        y = _MARGIN + (number + 0.7) * _POINTS_A_LINE / 72
        axes.text(_MARGIN, y, line, family="monospace", fontsize=9.2, color=colour, va="baseline")


def _as_pixels(figure: Figure):
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    buffer.seek(0)
    return matplotlib.image.imread(buffer)


def _number(text: str) -> float:
    return float(text) if text else float("nan")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run that was measured under attacks and corruptions")
    parser.add_argument("out", type=Path, help="the PNG file to write")
    arguments = parser.parse_args()
    first_screen(arguments.run).savefig(arguments.out, dpi=140)
