"""The whole report of some runs: made once, then written as files and told on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2be_exp.report.paper.as_csv import as_csv
from p2be_exp.report.paper.as_latex import as_latex
from p2be_exp.report.paper.as_markdown import as_markdown, escaped
from p2be_exp.report.paper.as_text import as_text
from p2be_exp.report.paper.cells import Table, fill_tables
from p2be_exp.report.paper.code_maps import code_maps
from p2be_exp.report.paper.figures import Picture, table_pictures
from p2be_exp.report.paper.folder import write_files
from p2be_exp.report.paper.gather import NotUsed, Result, gather
from p2be_exp.report.paper.grid import Grid, grids
from p2be_exp.report.paper.page import page
from p2be_exp.report.paper.runs_table import number_of_runs, runs_table
from p2be_exp.runs.provenance import now

TITLE = "Runs beside the paper"


@dataclass(frozen=True)
class Report:
    """Everything that is reported.

    Attributes:
        results: the runs that have results.
        not_used: those that have none, with the reason.
        tables: filled.
        grids: the same in words, in the same order.
        pictures: of each table.
        maps: Fig. 2, where a run has learned a table.
        notes: what is said of it.
    """

    results: tuple[Result, ...]
    not_used: tuple[NotUsed, ...]
    tables: tuple[Table, ...]
    grids: tuple[Grid, ...]
    pictures: tuple[tuple[Picture, ...], ...]
    maps: tuple[Picture, ...]
    notes: tuple[str, ...]


def make_report(paths: Sequence[str], evaluation: str | None = None) -> Report:
    """Read runs, fill the tables, draw the figures; nothing is written.

    Raises:
        BadInput: see :func:`p2be_exp.report.paper.gather.gather`.
    """
    results, not_used = gather(paths, evaluation)
    tables = fill_tables(results)
    words = grids(tables)
    pictures = [tuple(table_pictures(table, grid)) for table, grid in zip(tables, words, strict=True)]
    learned = any(result.config.encoding.name == "p2be" for result in results)
    maps, notes = code_maps(results) if learned else ([], [])
    return Report(
        tuple(results), tuple(not_used), tuple(tables), tuple(words), tuple(pictures), tuple(maps), tuple(notes)
    )


def write_report(report: Report, out: Path) -> None:
    """Write ``report.md``, ``index.html``, ``tables/*.csv``, ``tables/*.tex``, ``figures/*.svg``, ``report.json``.

    In the folder of an earlier report they take the place of its own, which its ``report.json`` lists.

    Raises:
        BadInput: see :func:`p2be_exp.report.paper.folder.write_files`.
    """
    files = {}
    for table, grid in zip(report.tables, report.grids, strict=True):
        files[f"tables/{grid.id}.csv"] = as_csv(table, grid.id)
        files[f"tables/{grid.id}.tex"] = as_latex(grid)
    for picture in _pictures(report):
        files[f"figures/{picture.name}.svg"] = picture.svg
    files["report.md"] = _markdown(report)
    sections = list(zip(report.grids, report.pictures, strict=True))
    runs = runs_table(report.results, report.not_used)
    files["index.html"] = page(TITLE, intro(report), sections, runs, report.maps, report.notes)
    write_files(out, files)


def report_text(report: Report) -> str:
    """The tables for a terminal, and which runs are not in them."""
    lines = [as_text(grid) for grid in report.grids]
    if report.not_used:
        lines.append("\n".join(f"not used: {each.folder}: {each.reason}" for each in report.not_used))
    return "\n\n".join([*lines, *report.notes])


def intro(report: Report) -> list[str]:
    """What the report is, in a few sentences."""
    small = sum(not table.full for table in report.tables)
    parts = [
        f"The results of {number_of_runs(report.results)}, made into the tables and figures of the paper that they can "
        f"fill, {now().replace('T', ' ').replace('+00:00', ' UTC')}. Published numbers: Kishida & Nakayama, Pixel to "
        "Binary Embedding Towards Robustness for CNNs, ICPR 2022.",
        "Errors are in percent: fewer is better. A cell is the mean over the seeds of one recipe. Runs at another "
        "scale, or of another recipe, have tables of their own and are in no mean with others; what is not measured is "
        "missing, not 0.",
    ]
    if small:
        parts.append(f"{small} of {len(report.tables)} tables cannot be compared with the paper; each says why.")
    if report.not_used:
        parts.append(f"{len(report.not_used)} of the given runs are not in the tables: see the table of the runs.")
    return parts


def _pictures(report: Report) -> list[Picture]:
    return [picture for found in report.pictures for picture in found] + list(report.maps)


def _markdown(report: Report) -> str:
    parts = [f"# {TITLE}", *map(escaped, intro(report))]
    for grid, pictures in zip(report.grids, report.pictures, strict=True):
        parts += [as_markdown(grid), *map(_shown, pictures)]
    parts += [*map(_shown, report.maps), *map(escaped, report.notes)]
    return "\n\n".join([*parts, as_markdown(runs_table(report.results, report.not_used))]) + "\n"


def _shown(picture: Picture) -> str:
    return f"![{escaped(picture.title)}](figures/{picture.name}.svg)"
