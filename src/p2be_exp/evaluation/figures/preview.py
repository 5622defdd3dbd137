"""A figure of one image under every corruption at every severity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from p2be_exp.evaluation.figures.canvas import new_figure
from p2be_exp.evaluation.figures.saving import PNG, save_figure

Pictures = Mapping[str, Mapping[int, NDArray[np.uint8]]]
"""Images ``(H, W, 3)`` by corruption and severity."""


def draw_preview(
    clean: NDArray[np.uint8], pictures: Pictures, title: str, path: Path, kinds: Sequence[str] = PNG
) -> list[Path]:
    """Draw an image clean and corrupted, one row per corruption, one column per severity; return the files.

    Args:
        clean: ``(H, W, 3)`` uint8.
        pictures: the same image corrupted; every corruption at the same severities.
        title: of the figure.
        path: where the PNG goes.
        kinds: of the files, see :func:`p2be_exp.evaluation.figures.saving.save_figure`.
    """
    severities = sorted(next(iter(pictures.values())))
    columns, rows, cell = 1 + len(severities), len(pictures), 0.95
    figure, grid = new_figure(
        rows,
        columns,
        figsize=(1.7 + cell * columns, 0.75 + cell * rows),
        squeeze=False,
        layout="constrained",
    )
    for row, (name, images) in zip(grid, pictures.items(), strict=True):
        for axes, image in zip(row, [clean, *(images[severity] for severity in severities)], strict=True):
            # Antialiased where it has more pixels than the cell, else pixel by pixel.
            axes.imshow(image, interpolation="nearest" if image.shape[0] <= 64 else "antialiased")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(name.replace("_", " "), rotation=0, ha="right", va="center", fontsize=9)
    for axes, head in zip(grid[0], ["clean", *(f"severity {severity}" for severity in severities)], strict=True):
        axes.set_title(head, fontsize=9)
    figure.suptitle(title.encode(errors="backslashreplace").decode(), fontsize=10)  # a folder's name may be any bytes
    return save_figure(figure, path, kinds, dpi=110)
