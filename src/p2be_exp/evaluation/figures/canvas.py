"""Figures without a window: drawn by Agg whatever backend the process uses, freed with their last reference."""

from __future__ import annotations

import textwrap
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def new_figure(rows: int = 1, columns: int = 1, *, figsize: tuple[float, float], **settings: Any) -> tuple[Figure, Any]:
    """A figure and its axes, as ``pyplot.subplots`` returns them, without the global state of pyplot.

    Args:
        rows, columns: of the grid of axes.
        figsize: width and height in inches.
        settings: ``layout`` of the figure; the others go to ``Figure.subplots``.

    Returns:
        The figure, and one pair of axes, or an array of them.
    """
    figure = Figure(figsize=figsize, layout=settings.pop("layout", None))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **settings)


def entitle(figure: Figure, title: str) -> None:
    """Write a title of 9 points above a figure, in as many lines as its width asks for."""
    width = int(13 * figure.get_figwidth())  # characters of this size
    figure.suptitle("\n".join(textwrap.wrap(title, width)), fontsize=9)


OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C8C8C")
"""Colours that the colour-blind can distinguish (Okabe and Ito), without their yellow, with a grey."""
