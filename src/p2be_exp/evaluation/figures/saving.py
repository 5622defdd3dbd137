"""A figure as files: PNG for a screen, PDF and SVG in the style of a paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
from matplotlib.figure import Figure

from p2be_exp.evaluation.figures.paper_style import for_paper
from p2be_exp.system.atomic import replacing

PNG = ("png",)
"""The kinds of files without a choice of others."""

_SETTINGS: Any = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "p2be"}
"""Text of PDF files as TrueType, which journals ask for; names in SVG files that are the same every time."""

_WITHOUT_DATE: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
"""Metadata with which the same figure is the same file."""


def save_figure(figure: Figure, path: Path, kinds: Sequence[str] = PNG, dpi: float = 140) -> list[Path]:
    """Write a figure once for each kind; a file appears whole or not at all.

    Args:
        figure: for a screen. Where PDF or SVG is wanted it is changed to the style of a paper, after its PNG.
        path: of the PNG; the others differ in their endings.
        kinds: ``png``, ``pdf``, ``svg``.
        dpi: of the PNG, and of pictures within the others.

    Returns:
        The files, PNG first.
    """
    files = []
    if "png" in kinds:
        files.append(_saved(figure, path, "png", dpi))
    if drawn := sorted(set(kinds) - {"png"}):
        for_paper(figure)
        files += [_saved(figure, path, kind, dpi) for kind in drawn]
    return files


def write_figure(figure: Figure, file: Path | BinaryIO, kind: str, dpi: float) -> None:
    """Write a figure as it is; the same figure gives the same file."""
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(file, format=kind, dpi=dpi, metadata=_WITHOUT_DATE.get(kind))


def _saved(figure: Figure, path: Path, kind: str, dpi: float) -> Path:
    file = path if kind == "png" else path.with_suffix(f".{kind}")
    with replacing(file) as part:
        write_figure(figure, part, kind, dpi)
    return file
