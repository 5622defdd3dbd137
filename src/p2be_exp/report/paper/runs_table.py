"""The table of the runs behind a report: what each is, where, how it was made, and those that could not be used."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from p2be_exp.report.paper.gather import NotUsed, Result
from p2be_exp.report.paper.grid import Grid, Text
from p2be_exp.report.paper.keys import natural

_HEAD = {"seed": "fact", "command": "path", "commit": "fact", "status": "fact", "other evaluations": "fact"}
"""The columns, and the kinds of their cells."""


def runs_table(results: Sequence[Result], not_used: Sequence[NotUsed]) -> Grid:
    """One row per run: folder, seed, command, commit, status."""
    ordered = sorted(results, key=lambda result: natural(str(result.folder)))
    blocks = {
        "used": tuple(_row(result.folder, *_facts(result)) for result in ordered),
        "not used": tuple(_row(each.folder, "", "", "", each.reason, "") for each in not_used),
    }
    others = any(result.other_evaluations for result in results)
    return Grid(
        id="runs",
        heading="The runs",
        warning="",
        sentence=f"{number_of_runs(results)} with results{f'; {len(not_used)} without' if not_used else ''}.",
        corner="folder",
        head=tuple((name, ("",)) for name in _HEAD),
        blocks=tuple((label, rows) for label, rows in blocks.items() if rows),
        notes=("Other evaluations of a run are taken with evaluation=NAME.",) if others else (),
    )


def number_of_runs(results: Sequence[Result]) -> str:
    """How many runs some results are of: several evaluations of a run are one."""
    number = len({result.run_folder for result in results})
    return f"{number} run{'s' * (number != 1)}"


def _row(folder: Path, *facts: str) -> tuple[str, tuple[Text, ...]]:
    return str(folder), tuple(Text(text, kind) for text, kind in zip(facts, _HEAD.values(), strict=True))


def _facts(result: Result) -> tuple[str, ...]:
    return (
        str(result.seed),
        shlex.join(result.info.get("command") or []),
        str(result.info.get("git_commit") or "")[:10],
        result.run.status().get("state", "finished"),
        ", ".join(result.other_evaluations),
    )
