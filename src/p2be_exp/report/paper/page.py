"""The report as one HTML page that needs nothing but itself: no script, no other file, no address."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from p2be_exp.report.paper.figures import Picture
from p2be_exp.report.paper.grid import FEWER, MISSING, MORE, Grid

_FOLDER = Path(__file__).parent
"""Of the template and its style sheet."""


def page(title: str, intro: Sequence[str], sections: Sequence[tuple[Grid, Sequence[Picture]]], runs: Grid,
         pictures: Sequence[Picture] = (), notes: Sequence[str] = ()) -> str:  # fmt: skip
    """The page.

    Args:
        title: its heading.
        intro: paragraphs under it.
        sections: each table with its pictures.
        runs: the table of the runs.
        pictures: those that belong to no table.
        notes: what is said of them.
    """
    # Every text is escaped unless the template says otherwise.
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["base64"] = lambda text: base64.b64encode(text.encode()).decode()
    return environment.get_template("page.html.j2").render(
        title=title,
        intro=intro,
        sections=sections,
        runs=runs,
        pictures=pictures,
        notes=notes,
        style=(_FOLDER / "page.css").read_text(encoding="utf-8"),
        missing=MISSING,
        fewer=FEWER,
        more=MORE,
    )
