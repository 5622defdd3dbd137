"""The paper's Fig. 2 from runs: how alike the codes of all levels are, for each encoding and for learned tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing
from numpy.typing import NDArray

from p2be_exp.errors import BadInput
from p2be_exp.report.paper.figures import Picture, picture
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.keys import natural
from p2be_exp.report.paper.tables import option_label
from p2be_exp.runs.load import load_checkpoint

LEARNED = 4
"""Most learned tables that are drawn."""


def code_maps(results: Sequence[Result]) -> tuple[list[Picture], list[str]]:
    """Panels of RGB, one-hot, thermometer, a random table, and of the tables that runs have learned.

    Args:
        results: of the runs; those without a learned table are skipped.

    Returns:
        The picture, none where no run has learned a table; and notes on runs that are not in it.
    """
    import torch  # seconds, and a report without P2BE has no use for it

    from p2be_exp.encodings import RGB, OneHot, Thermometer
    from p2be_exp.encodings.sign import binarize
    from p2be_exp.evaluation.figures.similarity import similarity

    learned, notes = _learned(results)
    if not learned:
        return [], notes
    lengths = sorted({weight.shape[1] for _, weight in learned})
    length = 64 if 64 in lengths else lengths[-1]
    random = torch.randn(256, length, generator=torch.Generator().manual_seed(0))
    tables = {"RGB": RGB().table(), f"one-hot, M = {length}": OneHot(length).table()}
    tables |= {f"thermometer, M = {length}": Thermometer(length).table()}
    for title, weight in [(f"random N(0, 1), M = {length}", random), *learned]:
        tables[title] = binarize(weight, slope_at_zero=4.0)  # which only a gradient would see
    maps = {title: similarity(table.detach()).numpy() for title, table in tables.items()}
    return [_draw(maps)], notes


def _learned(results: Sequence[Result]) -> tuple[list, list[str]]:
    """Tables of the runs, one for each recipe's first seed."""
    chosen: dict[str, Result] = {}
    for result in sorted(results, key=lambda each: (each.seed, str(each.folder))):
        encoding = result.config.encoding
        if encoding.name != "p2be" or encoding.table_from is not None:
            continue
        config = result.config
        what = f"learned on {option_label(config.dataset.name)}, M = {encoding.M}"
        recipe = f"{config.backbone.name}, {option_label(config.regime.name)}, {config.epochs} epochs"
        chosen.setdefault(f"{what}\n{recipe}\nlambda = {encoding.lambda_smooth:g}", result)
    found: list = []
    lost: list[str] = []
    for title in sorted(chosen, key=lambda each: (_less_like_the_paper(chosen[each]), natural(each))):
        result = chosen[title]
        if len(found) == LEARNED:
            return found, [f"Learned tables of more than {LEARNED} recipes: the first {LEARNED} are drawn."]
        try:
            weight = load_checkpoint(result.run)["state_dict"]["model.encoding.weight"]
        except (BadInput, KeyError):
            lost.append(str(result.run.path))
            continue
        found.append((f"{title}, seed {result.seed}", weight.float()))
    more = f" and {len(lost) - 1} others" if len(lost) > 1 else ""
    return found, [f"Learned tables not drawn, without a checkpoint that can be read: {lost[0]}{more}."] if lost else []


def _less_like_the_paper(result: Result) -> tuple[bool, ...]:
    """Sorts the paper's own table, of ImageNet, to the front, then those of its corruption runs."""
    config = result.config
    return config.dataset.name != "imagenet", config.regime.name != "augmix", config.encoding.M != 64


def _draw(maps: dict[str, NDArray[np.float32]]) -> Picture:
    columns = 4
    rows = -(-len(maps) // columns)

    def draw(drawing: Drawing, grid_of_axes: Any) -> list[str]:
        for axes in grid_of_axes.flat[len(maps) :]:
            axes.set_visible(False)
        for axes, (title, values) in zip(grid_of_axes.flat, maps.items(), strict=False):
            image = axes.imshow(values, vmin=0, vmax=1, cmap="cividis", origin="upper", rasterized=True)
            axes.set_title(title, fontsize=7.5)
            axes.set_xticks([0, 128, 255])
            axes.set_yticks([0, 128, 255])
        drawing.colorbar(image, ax=grid_of_axes, label="cosine similarity of the codes of two levels", shrink=0.8)
        means = (
            f"{name}: {values.diagonal(1).mean():.2f} of neighbours, {values.mean():.2f} of all pairs"
            for name, values in maps.items()
        )
        return ["Mean similarity: " + "; ".join(means).replace("\n", ", ")]

    title = "Fig. 2: cosine similarity of the codes of all pairs of levels, 0 to 255"
    return picture("figure2", title, (rows, columns), (2.5 * columns, 0.5 + 2.75 * rows), draw)
