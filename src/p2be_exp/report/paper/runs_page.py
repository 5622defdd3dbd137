"""The runs on one page that compares them: sorted and filtered by its own script, with no server and no other file."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.grid import MISSING
from p2be_exp.report.paper.keys import Measure, natural
from p2be_exp.report.paper.measures import MEASURES, interval_over_images, value
from p2be_exp.report.paper.page import style
from p2be_exp.report.paper.tables import option_label
from p2be_exp.runs.provenance import now

_FOLDER = Path(__file__).parent
"""Of the template, its style sheet and its script."""

_SORT = _FOLDER.parent / "sort.js"

FACTS = ("data set", "network", "encoding", "regime")
"""What runs are filtered by."""

_KINDS = ("clean", "corruption", "lspga", "worst")


@dataclass(frozen=True)
class Error:
    """One error of a run.

    Attributes:
        text: in percent.
        value: the same in full precision, to sort by.
        told: with its interval and the folder, in words.
        at, low, high: where it stands in its column, 0 to 100; the ends are None without an interval.
    """

    text: str
    value: float
    told: str
    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """A run: its folder, what it can be filtered by in words, the options behind them, its seed and its errors."""

    folder: str
    facts: tuple[str, ...]
    encoding: str
    seed: int
    errors: tuple[Error | None, ...]


def runs_page(results: Sequence[Result]) -> str:
    """The page. Every text is escaped, and the page forbids every script but its own."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    script = "".join(file.read_text(encoding="utf-8") for file in (_SORT, _FOLDER / "runs_page.js"))
    ordered = sorted(results, key=lambda result: natural(str(result.folder)))
    kinds = [kind for kind in _KINDS if any(value(each, Measure(kind)) is not None for each in ordered)]
    rows = _rows(ordered, kinds)
    return environment.get_template("runs_page.html.j2").render(
        rows=rows,
        measures=[MEASURES[kind] for kind in kinds],
        facts=FACTS,
        choices=[sorted({row.facts[number] for row in rows}, key=natural) for number in range(len(FACTS))],
        missing=MISSING,
        written=now().replace("T", " ").replace("+00:00", " UTC"),
        style=style() + (_FOLDER / "runs_page.css").read_text(encoding="utf-8"),
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _rows(results: Sequence[Result], kinds: Sequence[str]) -> list[Row]:
    columns = [_column(results, kind) for kind in kinds]
    return [
        Row(str(result.folder), _facts(result), result.config.encoding.name, result.seed, errors)
        for result, errors in zip(results, zip(*columns, strict=True) if columns else [()] * len(results), strict=True)
    ]


def _facts(result: Result) -> tuple[str, ...]:
    config = result.config
    model = "" if config.model.name == "plain" else f", model {option_label(config.model.name)}"
    encodings = ", ".join(option_label(name) for name in dict.fromkeys(config.encoding_names))
    return option_label(config.dataset.name), config.network, encodings, option_label(config.regime.name) + model


def _column(results: Sequence[Result], kind: str) -> list[Error | None]:
    """One measure of all runs, on one scale that holds them all with their intervals."""
    measure = Measure(kind)
    found = [(value(each, measure), interval_over_images(each, measure)) for each in results]
    numbers = [number for error, ends in found if error is not None for number in (error, *(ends or ()))]
    low, width = min(numbers), max(numbers) - min(numbers) or 1.0

    def place(number: float) -> float:
        return round(4 + 92 * (number - low) / width, 2)

    column: list[Error | None] = []
    for result, (error, ends) in zip(results, found, strict=True):
        if error is None:
            column.append(None)
            continue
        interval = f"95 % interval {ends[0]:.2f} to {ends[1]:.2f} over its test images" if ends else "no interval"
        told = f"{MEASURES[kind]} {error:.2f} %, {interval}; {result.folder}"
        column.append(Error(f"{error:.2f}", error, told, place(error), *(map(place, ends) if ends else (None, None))))
    return column
