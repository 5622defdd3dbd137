"""The whole report of some runs: made once, then written as files and printed on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
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
from p2be_exp.report.paper.glance import glances
from p2be_exp.report.paper.grid import Grid, grids
from p2be_exp.report.paper.masking import Masked, find_masked
from p2be_exp.report.paper.masking_figure import masking_picture
from p2be_exp.report.paper.masking_table import masking_csv, masking_grid
from p2be_exp.report.paper.mixture_figure import mixture_picture
from p2be_exp.report.paper.mixture_table import mixture_csv, mixture_grid
from p2be_exp.report.paper.mixtures import Pair, find_pairs, is_mixture
from p2be_exp.report.paper.other_methods import (
    published_csv,
    published_methods,
    published_mixtures,
    published_mixtures_csv,
)
from p2be_exp.report.paper.page import page
from p2be_exp.report.paper.runs_page import runs_page
from p2be_exp.report.paper.runs_table import number_of_runs, runs_table
from p2be_exp.runs.provenance import now

TITLE = "Runs beside the paper"


@dataclass(frozen=True)
class Section:
    """A table as it is reported.

    Attributes:
        table: filled.
        grid: the same in words.
        pictures: of it.
        published: what others publish, where that has a table of its own beneath it.
    """

    table: Table
    grid: Grid
    pictures: tuple[Picture, ...]
    published: Grid | None = None


@dataclass(frozen=True)
class MixtureSection:
    """The mixtures of two networks as they are reported.

    Attributes:
        pair: the mixtures.
        grid: the same in words.
        pictures: of them.
        published: what others publish of mixtures, beneath the last section.
    """

    pair: Pair
    grid: Grid
    pictures: tuple[Picture, ...]
    published: Grid | None = None


@dataclass(frozen=True)
class MaskingSection:
    """What the outputs of some runs hide from an attack.

    Attributes:
        rows: the runs.
        grid: the same in words.
        pictures: of them.
        published: None: nobody has published it.
    """

    rows: Sequence[Masked]
    grid: Grid
    pictures: tuple[Picture, ...]
    published: Grid | None = None


@dataclass(frozen=True)
class Report:
    """Everything that is reported.

    Attributes:
        results: the runs that have results.
        not_used: those that have none, with the reason.
        sections: one per table.
        maps: Fig. 2, where a run has learned a table.
        notes: on runs whose table is not in it.
        mixtures: one section for each pair of networks that are mixed.
        masking: on the runs whose outputs hide the way, if there are any.
        glance: the paper's tables in one picture, and those that cannot be compared with it in another.
    """

    results: Sequence[Result]
    not_used: Sequence[NotUsed]
    sections: Sequence[Section]
    maps: Sequence[Picture]
    notes: Sequence[str]
    mixtures: Sequence[MixtureSection] = ()
    masking: MaskingSection | None = None
    glance: Sequence[Picture] = ()

    @property
    def shown(self) -> list[Section | MixtureSection | MaskingSection]:
        """All sections, in the order of the report."""
        return [*self.sections, *self.mixtures, *([self.masking] if self.masking else [])]

    @property
    def runs(self) -> Grid:
        """The table of the runs."""
        return runs_table(self.results, self.not_used)


def make_report(paths: Sequence[str], evaluation: str | None = None) -> Report:
    """Read runs, fill the tables, draw the figures; nothing is written.

    Raises:
        BadInput: see :func:`p2be_exp.report.paper.gather.gather`.
    """
    results, not_used = gather(paths, evaluation)
    mixtures = _mixtures(results)
    parts = [each.result for section in mixtures for each in section.pair.alone.values()]
    of_one = [each for each in results if not is_mixture(each)]
    tables = fill_tables(of_one, shown=[each for each in parts if each])
    sections = [_section(table, grid) for table, grid in zip(tables, grids(tables), strict=True)]
    methods = [number for number, section in enumerate(sections) if section.table.spec.others_beneath]
    for number in methods[-1:]:  # once, however many tables of methods there are
        published = published_methods(sections[number].table.spec.id)
        sections[number] = replace(sections[number], published=published)
    learned = any(result.config.encoding.name == "p2be" for result in of_one)
    maps, notes = code_maps(of_one) if learned else ([], [])  # a mixture's tables are its parts'
    return Report(results, not_used, sections, maps, notes, mixtures, _masking(results), glances(tables))


def _section(table: Table, grid: Grid) -> Section:
    return Section(table, grid, tuple(table_pictures(table, grid)))


def _mixtures(results: Sequence[Result]) -> list[MixtureSection]:
    found = []
    for number, pair in enumerate(pairs := find_pairs(results), start=1):
        name = "mixing" if number == 1 else f"mixing-{number}"
        grid = mixture_grid(pair, name)
        picture = mixture_picture(pair, name, " (small scale: see the table)" if grid.warning else "")
        published = published_mixtures("mixing") if number == len(pairs) else None
        found.append(MixtureSection(pair, grid, (picture,) if picture else (), published))
    return found


def _masking(results: Sequence[Result]) -> MaskingSection | None:
    if not (rows := find_masked(results)):
        return None
    grid = masking_grid(rows, "masking")
    scale = " (small scale: see the table)" if grid.warning else ""
    return MaskingSection(rows, grid, (masking_picture(rows, "masking", scale),))


def write_report(report: Report, out: Path, kinds: Sequence[str] = ()) -> None:
    """Write ``report.md``, ``index.html``, ``runs.html``, ``tables/``, ``figures/`` and ``report.json``.

    In the folder of an earlier report they replace its files, which its ``report.json`` lists.

    Args:
        report: everything.
        out: the folder.
        kinds: of files that figures have beside SVG: ``pdf``, ``png``.

    Raises:
        BadInput: see :func:`p2be_exp.report.paper.folder.write_files`.
    """
    files: dict[str, str | bytes] = {}
    for section in report.sections:
        files[f"tables/{section.grid.id}.csv"] = as_csv(section.table, section.grid.id)
        if section.published:
            files[f"tables/{section.published.id}.csv"] = published_csv()
    for mixture in report.mixtures:
        files[f"tables/{mixture.grid.id}.csv"] = mixture_csv(mixture.pair, mixture.grid.id)
        if mixture.published:
            files[f"tables/{mixture.published.id}.csv"] = published_mixtures_csv()
    if report.masking:
        files[f"tables/{report.masking.grid.id}.csv"] = masking_csv(report.masking.rows, report.masking.grid.id)
    for grid in [each for section in report.shown for each in (section.grid, section.published) if each]:
        files[f"tables/{grid.id}.tex"] = as_latex(grid)
    for picture in (*report.glance, *chain.from_iterable(section.pictures for section in report.shown), *report.maps):
        files[f"figures/{picture.name}.svg"] = picture.svg
        files |= {f"figures/{picture.name}.{kind}": picture.as_file(kind) for kind in kinds if kind != "svg"}
    files["report.md"] = _markdown(report)
    files["index.html"] = page(TITLE, intro(report), report)
    files["runs.html"] = runs_page(report.results)
    write_files(out, files)


def report_text(report: Report) -> str:
    """The tables for a terminal, and which runs are not in them."""
    lines = [as_text(section.grid) for section in report.shown]
    for published in [section.published for section in report.shown if section.published]:
        lines.append(f"{published.heading}: on the page, with what each number is.")
    if report.not_used:
        lines.append("\n".join(f"not used: {each.folder}: {each.reason}" for each in report.not_used))
    return "\n\n".join([*lines, *report.notes])


def intro(report: Report) -> list[str]:
    """What the report is, in a few sentences."""
    small = sum(not section.table.full for section in report.sections)
    parts = [
        f"The results of {number_of_runs(report.results)}, made into the tables and figures of the paper that they can "
        f"fill, {now().replace('T', ' ').replace('+00:00', ' UTC')}. Published numbers: Kishida & Nakayama, Pixel to "
        "Binary Embedding Towards Robustness for CNNs, ICPR 2022.",
        "Errors are in percent: fewer is better. A cell is the mean over the seeds of one recipe. Runs at another "
        "scale, or of another recipe, have tables of their own and are in no mean with others; what is not measured is "
        "missing, not 0.",
    ]
    if small:
        parts.append(f"{small} of {len(report.sections)} tables cannot be compared with the paper; each says why.")
    if report.not_used:
        parts.append(f"{len(report.not_used)} of the given runs are not in the tables: see the table of the runs.")
    return parts


def _markdown(report: Report) -> str:
    parts = [f"# {TITLE}", *map(escaped, intro(report)), *map(_shown, report.glance)]
    for section in report.shown:
        parts += [as_markdown(section.grid), *map(_shown, section.pictures)]
        parts += [as_markdown(section.published)] if section.published else []
    parts += [*map(_shown, report.maps), *map(escaped, report.notes), as_markdown(report.runs)]
    return "\n\n".join(parts) + "\n"


def _shown(picture: Picture) -> str:
    return f"![{escaped(picture.title)}](figures/{picture.name}.svg)"
