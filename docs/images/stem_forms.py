"""Draw the picture of docs/performance.md: what the forms of the first convolution read and write.

python docs/images/stem_forms.py docs/images/stem_forms.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from p2be_exp.evaluation.figures.canvas import new_figure

IMAGES, SIDE, M, CHANNELS, TAPS = 128, 32, 64, 16, 9
"""The batch of the picture: Wide ResNet, P2BE with 64 bits, 3 x 3."""

PIXELS = IMAGES * SIDE * SIDE
LEVELS = ("levels", 3 * PIXELS, "uint8")
CODES = ("codes", 3 * M * PIXELS * 4, "float32")
FOLDED = ("folded table", 3 * TAPS * 256 * CHANNELS * 4, "float32")
FEATURES = ("features", CHANNELS * PIXELS * 4, "float32")

FORMS = {
    "plain and look-up": ([LEVELS, CODES, FEATURES], ["rows of the table", "convolution of\n3M channels"]),
    "folded (CPU)": ([LEVELS, FOLDED, FEATURES], ["table times weight,\nonce a batch", "sum of 27 rows a pixel"]),
    "fused (GPU)": ([LEVELS, FEATURES], ["look-up and products on chip"]),
}
_PLACES = (1.1, 4.4, 7.7)
_WIDTH, _HEIGHT = 1.7, 0.62


def size(count: int) -> str:
    """Bytes in the unit that has one to three digits before the point."""
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def draw_form(axes: Axes, y: float, name: str) -> None:
    """One row: tensors as boxes, what is done between them."""
    tensors, steps = FORMS[name]
    places = _PLACES if len(tensors) == len(_PLACES) else (_PLACES[0], _PLACES[-1])
    axes.text(0, y + 0.75, name, weight="bold", fontsize=9)
    for x, (what, count, kind) in zip(places, tensors, strict=True):
        colour = "#F4C7AB" if what == "codes" else "#DCE6F2"
        axes.add_patch(
            FancyBboxPatch(
                (x - _WIDTH / 2, y - _HEIGHT / 2), _WIDTH, _HEIGHT, boxstyle="round,pad=0.05", fc=colour, ec="#444444"
            )
        )
        axes.text(x, y, f"{what}, {kind}\n{size(count)}", ha="center", va="center", fontsize=8)
    for left, right, step in zip(places, places[1:], steps, strict=False):
        start, end = (left + _WIDTH / 2 + 0.08, y), (right - _WIDTH / 2 - 0.08, y)
        axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color="#444444"))
        axes.text((start[0] + end[0]) / 2, y + 0.1, step, ha="center", va="bottom", fontsize=8)


def draw() -> Figure:
    """The picture."""
    figure, axes = new_figure(figsize=(8.6, 3.6), layout="constrained")
    for row, name in enumerate(FORMS):
        draw_form(axes, 1.55 * (len(FORMS) - 1 - row), name)
    axes.set_xlim(0, 8.8)
    axes.set_ylim(-0.5, 4.3)
    axes.axis("off")
    return figure


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the picture to write")
    draw().savefig(parser.parse_args().file, dpi=150)


if __name__ == "__main__":
    main()
