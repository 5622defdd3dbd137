"""The table of the runs behind a report: what each is, where, how it was made, and those that could not be used."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from p2be_exp.report.paper.gather import NotUsed, Result
from p2be_exp.report.paper.grid import Grid, Text
from p2be_exp.report.paper.keys import natural

_HEAD = ("seed", "command", "commit", "status", "other evaluations")


def runs_table(results: Sequence[Result], not_used: Sequence[NotUsed]) -> Grid:
    """A row a run: folder, seed, command, commit, status."""
    ordered = sorted(results, key=lambda result: natural(str(result.folder)))
    used = tuple((str(result.folder), _texts(_facts(result))) for result in ordered)
    rest = tuple((str(each.folder), _texts(("", "", "", each.reason, ""))) for each in not_used)
    lack = f"; {len(not_used)} without" if not_used else ""
    return Grid(
        "runs",
        "The runs",
        "",
        f"{number_of_runs(results)} with results{lack}.",
        "folder",
        tuple((name, ("",)) for name in _HEAD),
        tuple(block for block in (("used", used), ("not used", rest)) if block[1]),
        ("Other evaluations of a run are taken with evaluation=NAME.",)
        if any(r.other_evaluations for r in results)
        else (),
    )


def number_of_runs(results: Sequence[Result]) -> str:
    """How many runs some results are of: several evaluations of a run are one."""
    number = len({result.run_folder for result in results})
    return f"{number} run{'s' * (number != 1)}"


def _texts(facts: Sequence[str]) -> tuple[Text, ...]:
    return tuple(Text(text, kind) for text, kind in zip(facts, _KINDS, strict=True))


_KINDS = ("fact", "path", "fact", "fact", "fact")


def _facts(result: Result) -> tuple[str, ...]:
    info = result.info
    return (
        str(result.seed),
        shlex.join(info.get("command") or []),
        str(info.get("git_commit") or "")[:10],
        result.run.status().get("state", "finished"),
        ", ".join(result.other_evaluations),
    )
