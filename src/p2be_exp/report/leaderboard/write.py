"""A leaderboard: made once, then written as files and printed on the terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2be_exp.errors import BadInput
from p2be_exp.report.leaderboard.as_csv import as_csv
from p2be_exp.report.leaderboard.as_json import KIND, as_json
from p2be_exp.report.leaderboard.as_text import as_text
from p2be_exp.report.leaderboard.boards import Board, choose_radius, make_boards
from p2be_exp.report.leaderboard.find import find_submissions
from p2be_exp.report.leaderboard.page import page
from p2be_exp.report.measured import is_evaluation, is_run
from p2be_exp.system.atomic import refuse_links, write_text
from p2be_exp.system.forms import read_json
from p2be_exp.system.ownership import owned

PAGE, DATA, TABLE = "leaderboard.html", "leaderboard.json", "leaderboard.csv"


@dataclass(frozen=True)
class Leaderboard:
    """Everything on a leaderboard.

    Attributes:
        boards: one for each set of test images.
        radius: in levels, of the worst case that entries are ranked by.
        not_measured: places of evaluations that have no results yet.
    """

    boards: Sequence[Board]
    radius: int
    not_measured: Sequence[str]


def make_leaderboard(folder: Path, radius: int | None = None) -> Leaderboard:
    """Read and rank the results in a folder; nothing is written.

    Args:
        folder: with results, at any depth.
        radius: in levels, to rank by; None: see :func:`p2be_exp.report.leaderboard.boards.choose_radius`.

    Raises:
        BadInput: see :func:`p2be_exp.report.leaderboard.find.find_submissions`; no worst case has the radius.
    """
    submissions, not_measured = find_submissions(folder)
    chosen = choose_radius(submissions, radius)
    return Leaderboard(make_boards(submissions, chosen), chosen, not_measured)


def check_out(out: Path) -> None:
    """Check that a leaderboard may be written to a folder: none of its files is there, or all are a leaderboard's.

    Raises:
        BadInput: a file, a run, an evaluation, or a folder with a file of the same name and of other origin.
    """
    if out.exists() and not out.is_dir():
        raise BadInput(f"out={out}: is a file, must be a folder")
    if is_run(out) or is_evaluation(out):
        raise BadInput(f"out={out}: is {'a run' if is_run(out) else 'an evaluation'}; choose another folder")
    refuse_links(out, PAGE, DATA, TABLE, key="out")
    there = [name for name in (DATA, PAGE, TABLE) if (out / name).exists()]
    if there and not _is_own(out / DATA):
        raise BadInput(f"out={out}: contains a {there[0]} that is not a leaderboard's; choose another folder")


def write_leaderboard(leaderboard: Leaderboard, out: Path) -> None:
    """Write ``leaderboard.html``, ``leaderboard.json``, ``leaderboard.csv``, in place of earlier ones.

    Raises:
        BadInput: see :func:`check_out`; the folder cannot be written, or another process owns it.
    """
    content = as_json(leaderboard)
    files = {
        DATA: json.dumps(content, indent=2) + "\n",  # first: it makes the others known as a leaderboard's
        PAGE: page(leaderboard),
        TABLE: as_csv(content),
    }
    try:
        with owned(out, "out"):
            check_out(out)
            for name, text in files.items():
                write_text(out / name, text)
    except OSError as error:
        raise BadInput(f"out={out}: cannot be written ({error.strerror})") from error


def leaderboard_text(leaderboard: Leaderboard) -> str:
    """The boards for a terminal."""
    parts = [as_text(board, leaderboard.radius) for board in leaderboard.boards]
    parts += [f"nothing measured yet: {place}" for place in leaderboard.not_measured]
    return "\n\n".join(parts)


def _is_own(file: Path) -> bool:
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == KIND
