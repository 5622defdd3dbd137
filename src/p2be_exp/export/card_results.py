"""What the card of a shared network says of its errors, and whether they can be trusted."""

from __future__ import annotations

from p2be_exp.export.markdown import code, table, words
from p2be_exp.export.shared_results import SharedResults
from p2be_exp.report.leaderboard.conditions import interval
from p2be_exp.report.leaderboard.sanity import Panel
from p2be_exp.report.leaderboard.words import levels, percent
from p2be_exp.report.measured import Counts

_HEAD = ("condition", "images", "wrong", "error %", "95 % interval")


def errors(results: SharedResults, heading: str = "Errors") -> str:
    """The errors on clean images, under each attack and in the worst case, with intervals; then the corruptions."""
    rows = [_row(code(name), each) for name, each in results.counts.items() if not name.startswith("corruption/")]
    if (worst := results.summary.worst_case) is not None:
        suite = "worst case of a short suite" if worst.short else "worst case"
        rows += [_row(f"{suite}, {levels(radius)}", each) for radius, each in worst.counts.items()]
    text = (
        f"## {heading}\n\n{table(_HEAD, rows, right=4)}\n\n"
        "Intervals are Wilson's, of this one network on these images; they say nothing about another seed."
    )
    return text if results.summary.corrupted is None else f"{text}\n\n{_corruptions(results)}"


def _row(name: str, counts: Counts) -> list[str]:
    low, high = interval(counts)
    between = f"{percent(low)} to {percent(high)}"
    return [name, f"{counts.n:,}", f"{counts.n_wrong:,}", percent(counts.error), between]


def _corruptions(results: SharedResults) -> str:
    corrupted = results.summary.corrupted
    assert corrupted is not None
    cells: dict[str, dict[str, str]] = {}
    for condition, counts in results.counts.items():
        if condition.startswith("corruption/"):
            _, name, severity = condition.split("/")
            cells.setdefault(name, {})[severity] = percent(counts.error)
    severities = sorted({each for row in cells.values() for each in row})
    rows = [[code(name), *(row.get(each, "") for each in severities)] for name, row in cells.items()]
    mean = "not complete" if corrupted.mean is None else f"{percent(corrupted.mean)} %, over {corrupted.over}"
    grid = table(("error % at severity", *severities), rows, right=len(severities))
    return f"{grid}\n\nMean corruption error: {mean}. Corrupted images: {words(corrupted.origin)}."


def panel(found: Panel) -> str:
    """The verdicts of the sanity panel, with the details of those that are not ok."""
    head = "## Can these numbers be trusted?\n\n"
    if not found.checks:
        return f"{head}No sanity panel was run: whether attacks worked is not known."
    lines = [
        f"* {check.verdict}: {words(check.name)}"
        + (f". {words(check.detail)}" if check.verdict in ("failed", "suspicious") else "")
        for check in found.checks
    ]
    told = ", ".join(f"{number} {verdict}" for verdict, number in found.counts.items())
    return f"{head}The sanity panel of the attacks: {told}.\n\n" + "\n".join(dict.fromkeys(lines))
