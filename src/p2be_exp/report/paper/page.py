"""The report as one HTML page that needs nothing but itself: no script, no other file, no address."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from p2be_exp.report.paper.grid import FEWER, MISSING, MORE

if TYPE_CHECKING:
    from p2be_exp.report.paper.write import Report

_FOLDER = Path(__file__).parent
"""Of the template and its style sheet."""


def page(title: str, intro: Sequence[str], report: Report) -> str:
    """The page.

    Args:
        title: its heading.
        intro: paragraphs under it.
        report: the tables and pictures.
    """
    # Every text is escaped unless the template says otherwise.
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["base64"] = lambda text: base64.b64encode(text.encode()).decode()
    return environment.get_template("page.html.j2").render(
        title=title,
        intro=intro,
        report=report,
        style=style(),
        missing=MISSING,
        fewer=FEWER,
        more=MORE,
    )


def style() -> str:
    """The style sheet of every page that a report writes."""
    return (_FOLDER / "page.css").read_text(encoding="utf-8")
