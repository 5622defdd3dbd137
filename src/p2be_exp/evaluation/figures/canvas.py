"""Figures without a window: drawn by Agg whatever backend the process uses, freed with their last reference."""

from __future__ import annotations

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


OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C8C8C")
"""Colours that the colour-blind can distinguish (Okabe and Ito), without their yellow, with a grey."""
