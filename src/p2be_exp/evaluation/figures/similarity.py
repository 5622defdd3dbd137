"""How alike the codes of any two levels are: the 256 x 256 picture of the paper's Fig. 2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from p2be_exp.evaluation.figures.canvas import new_figure
from p2be_exp.evaluation.figures.saving import PNG, save_figure


@torch.no_grad()
def similarity(table: Tensor) -> Tensor:
    """Cosine similarity of the codes of all pairs of levels, ``(256, 256)``, for a table ``(256, M)``.

    A code of zeros has similarity 0 to every code, itself included.
    """
    table = table.float().cpu()
    norms = table.norm(dim=1)
    return table @ table.T / (norms[:, None] * norms[None] + 1e-8)


def draw_similarity(table: Tensor, title: str, path: Path, kinds: Sequence[str] = PNG) -> list[Path]:
    """Draw the similarity of a table's codes as a PNG, or as files of other kinds; return them."""
    figure, axes = new_figure(figsize=(5, 4.2), layout="constrained")
    image = axes.imshow(similarity(table).numpy(), vmin=0, vmax=1, cmap="viridis", origin="upper")
    axes.set(xlabel="level", ylabel="level", title=title)
    axes.set_xticks([0, 64, 128, 192, 255])
    axes.set_yticks([0, 64, 128, 192, 255])
    figure.colorbar(image, label="cosine similarity of the codes")
    return save_figure(figure, path, kinds, dpi=150)
