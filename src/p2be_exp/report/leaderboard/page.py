"""The leaderboard as one HTML page that needs nothing but itself; its one script sorts the tables."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from p2be_exp.report.leaderboard import words
from p2be_exp.report.leaderboard.corrupted import BADGES
from p2be_exp.report.leaderboard.sanity import VERDICTS
from p2be_exp.report.paper.page import style
from p2be_exp.runs.provenance import now

if TYPE_CHECKING:
    from p2be_exp.report.leaderboard.write import Leaderboard

_FOLDER = Path(__file__).parent
"""Of the template, its script and its style sheet."""

_MARKS = {"failed": "\N{MULTIPLICATION SIGN}", "suspicious": "!", "ok": "\N{CHECK MARK}", "not measured": "?"}
"""A verdict in a sign, for those who do not see its colour."""


def page(leaderboard: Leaderboard) -> str:
    """The page. Texts are strangers': all are escaped, and the page itself forbids every script but its own."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"words": words, "badges": BADGES, "marks": _MARKS, "verdicts": VERDICTS}
    script = (_FOLDER.parent / "sort.js").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        leaderboard=leaderboard,
        written=now().replace("T", " ").replace("+00:00", " UTC"),
        style=style() + (_FOLDER / "page.css").read_text(encoding="utf-8"),
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
