"""Figures without content: to render one takes longer than to train a tiny network."""

from matplotlib.figure import Figure
from PIL import Image

save_figure = Figure.savefig
"""How a figure is really saved; see the fixture ``rendered``."""


def save_one_pixel(figure: Figure, file, *, format: str, **settings) -> None:
    """Instead of ``Figure.savefig``: a picture of one pixel."""
    if format != "png":
        save_figure(figure, file, format=format, **settings)
        return
    Image.new("RGB", (1, 1)).save(file, format=format)
