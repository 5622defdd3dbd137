"""The figures of an evaluation, from its results folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from p2be_exp.corruptions.provenance import provenance
from p2be_exp.data import ImageDataModule
from p2be_exp.evaluation.corrupted.images import CorruptedImages
from p2be_exp.evaluation.figures.attack_figures import draw_attack_figures
from p2be_exp.evaluation.figures.corruption_figures import draw_corruption_figures
from p2be_exp.evaluation.figures.preview import draw_preview
from p2be_exp.evaluation.figures.saving import PNG
from p2be_exp.evaluation.measures import Plan
from p2be_exp.evaluation.module import EXAMPLES
from p2be_exp.evaluation.results import Results


def draw_results(
    results: Results,
    data: ImageDataModule,
    corrupted: CorruptedImages | None,
    title: str,
    kinds: Sequence[str] = PNG,
) -> list[Path]:
    """Draw the figures of an evaluation into its folder's ``figures/``.

    Args:
        results: of the evaluation.
        data: its test images.
        corrupted: its corrupted images, if any.
        title: names the network.
        kinds: of the files, see :func:`p2be_exp.evaluation.figures.saving.save_figure`.

    Returns:
        The files.
    """
    figures = []
    if corrupted is not None:
        folder, source = results.folder / "figures", f"{data.name}, {_source(corrupted.plan)}"
        rows = list(results.rows.values())
        figures += draw_corruption_figures(
            results.summary(), rows, folder, title=f"{title}; {source}", wrong=results.wrong(), kinds=kinds
        )
        figures += _draw_preview(data, corrupted, source, folder / "corruptions.png", kinds)
    if results.attacks:
        clean = data.test_set().first(EXAMPLES).images.cpu().numpy()
        figures += draw_attack_figures(results, clean, f"{title}; {data.name}", kinds)
    return figures


def _source(plan: Plan) -> str:
    """The origin of the corrupted images, short enough for the title of a small figure."""
    if plan.source != "generated":
        return provenance(plan.source, plan.identical, plan.identical)
    available = [name for name in plan.names if name not in plan.left_out]
    same = [name for name in available if name in plan.identical]
    return "corruptions made here" + (f" ({len(same)} of {len(available)} as published)" if same else "")


def _draw_preview(
    data: ImageDataModule, corrupted: CorruptedImages, title: str, path: Path, kinds: Sequence[str]
) -> list[Path]:
    clean = data.test_set().first(1)
    index = int(clean.indices[0])
    position = data.test_set().indices.tolist().index(index)
    pictures: dict = {}
    for name, severity in corrupted.plan.cells:
        pictures.setdefault(name, {})[severity] = corrupted.picture(name, severity, data, position)
    image = clean.images[0].permute(1, 2, 0).cpu().numpy()
    return draw_preview(image, pictures, f"{title}, image {index}", path, kinds)
