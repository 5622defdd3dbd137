"""From runs to filled tables: which runs are one cell, what is left missing, what stands beside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import NamedTuple

from p2be_exp.report.difference import Compared
from p2be_exp.report.paper.apart import FLOAT32, how_trained, kept_apart
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.measures import value
from p2be_exp.report.paper.published import FAMILIES, PUBLISHED, Published
from p2be_exp.report.paper.recipe import Departures, departures
from p2be_exp.report.paper.reference import compare_cells
from p2be_exp.report.paper.tables import OTHER, TABLES, Place, TableSpec, blocks_with_several_rows, family


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        place: where.
        runs: by seed, the run and its value in percent; empty where nothing was measured.
        compared: with the table's reference; None without one.
        published: what the paper printed there, if it did.
        comparable: whether the published number may be subtracted from ours.
    """

    place: Place
    runs: dict[int, tuple[Result, float]]
    compared: Compared | None = None
    published: Published | None = None
    comparable: bool = False

    @property
    def values(self) -> list[float]:
        """The errors of the seeds, percent."""
        return [self.runs[seed][1] for seed in sorted(self.runs)]

    @property
    def mean(self) -> float | None:
        """Over seeds; None where there is none."""
        return fmean(self.values) if self.runs else None

    @property
    def sd(self) -> float | None:
        """Standard deviation over seeds; None below two."""
        return stdev(self.values) if len(self.runs) > 1 else None

    @property
    def minus_published(self) -> float | None:
        """Ours minus published, where that says anything."""
        if self.mean is None or not self.comparable or self.published is None or self.published.value is None:
            return None
        return self.mean - self.published.value


@dataclass(frozen=True)
class Table:
    """A table, filled by runs that depart from the paper in the same things, and were trained and measured alike.

    Attributes:
        spec: which.
        departures: in what its runs depart; empty at full scale.
        trained: see :func:`p2be_exp.report.paper.apart.how_trained`.
        apart: see :func:`p2be_exp.report.paper.apart.kept_apart`.
        blocks, rows, columns: keys in order; ``rows`` by block.
        cells: by block, row and column.
        results: the runs in it.
        remarks: what the runs' configurations say about departing.
        doubles: runs left out since another run has their place and seed.
    """

    spec: TableSpec
    departures: tuple[str, ...]
    trained: tuple[str, ...]
    apart: tuple[str, ...]
    blocks: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str, str], Cell]
    results: tuple[Result, ...]
    remarks: tuple[str, ...]
    doubles: tuple[tuple[Result, Result], ...]

    @property
    def full(self) -> bool:
        """Whether it is the paper's recipe at its scale."""
        return not self.departures


class _Key(NamedTuple):
    """What the runs of a table have in common."""

    departures: tuple[str, ...]
    trained: tuple[str, ...]
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Placed:
    result: Result
    departures: Departures
    places: tuple[Place, ...]


def fill_tables(results: Sequence[Result]) -> list[Table]:
    """Every table of the paper that has a run, full scale first; the order of the results plays no part.

    Args:
        results: of finished runs.

    Returns:
        The tables; those that no table of the paper takes are in the last ones.
    """
    ordered = sorted(results, key=lambda result: str(result.measured.folder))
    tables = [table for spec in TABLES for table in _tables(spec, ordered)]
    tables = [table for table in tables if any(cell.runs for cell in table.cells.values())]
    tables = [table for table in tables if not _shown_by_length(table, tables)]
    used = {id(result) for table in tables for result in table.results}
    return tables + list(_tables(OTHER, [result for result in ordered if id(result) not in used]))


def _tables(spec: TableSpec, results: Iterable[Result]) -> list[Table]:
    sections: dict[_Key, list[_Placed]] = {}
    for result in results:
        if result.scale == "small" and result.sweep not in spec.sweeps and spec is not OTHER:
            continue  # a small sweep is about its own table
        if not spec.place(result, ""):
            continue
        found = departures(result, spec.home)
        places = tuple(spec.place(result, ", ".join(found.row)))
        key = _Key(found.all or _off_the_axes(spec, result), how_trained(result))
        sections.setdefault(key, []).append(_Placed(result, found, places))
    sections = _apart(sections)
    shown = _worth_showing(spec, sections)
    order = sorted(shown, key=lambda key: (len(key.departures) > 0, key.departures, key.trained != (FLOAT32,), key))
    return [_table(spec, key, sections[key]) for key in order]


def _apart(sections: dict[_Key, list[_Placed]]) -> dict[_Key, list[_Placed]]:
    """The same sections; one whose runs must not be in one mean, in parts."""
    found: dict[_Key, list[_Placed]] = {}
    for key, placed in sections.items():
        for each, apart in zip(placed, kept_apart([each.result for each in placed]), strict=True):
            found.setdefault(key._replace(apart=apart), []).append(each)
    return found


def _worth_showing(spec: TableSpec, sections: dict[_Key, list[_Placed]]) -> list[_Key]:
    """The sections that say something; if none of a sweep's own does, all of that sweep: its cells are missing."""
    wanted = [
        key for key, placed in sections.items() if spec.wanted([place for each in placed for place in each.places])
    ]
    asked = [key for key, placed in sections.items() if any(each.result.sweep in spec.sweeps for each in placed)]
    return wanted if set(wanted) & set(asked) else list(dict.fromkeys([*wanted, *asked]))


def _off_the_axes(spec: TableSpec, result: Result) -> tuple[str, ...]:
    """A network or a length of training that no published table has."""
    network, epochs = result.measured.config["backbone"]["name"], str(result.measured.config["epochs"])
    expected = ("resnet50",) if spec.home.imagenet else ("wrn", "densenet", "resnext")
    if FAMILIES.get(network) not in expected:
        return (f"network {network}",)
    return (f"epochs = {epochs}",) if spec.id == "table6" and epochs not in spec.columns else ()


def _shown_by_length(table: Table, tables: Sequence[Table]) -> bool:
    """Whether a Table II is one column of a Table VI at full scale."""
    lengths = {(f"epochs = {epochs} instead of 200",) for epochs in (50, 100)}
    shown = any(each.spec.id == "table6" and each.full and each.trained == table.trained for each in tables)
    return table.spec.id == "table2" and table.departures in lengths and shown


def _table(spec: TableSpec, key: _Key, placed: Sequence[_Placed]) -> Table:
    placed = _along(spec, _without_variants(spec, placed))
    runs: dict[Place, dict[int, tuple[Result, float]]] = {}
    doubles: dict[tuple[str, str], tuple[Result, Result]] = {}
    for each in placed:
        for place in each.places:
            cell = runs.setdefault(place, {})
            error = value(each.result, place.measure)
            if error is None:
                continue
            seed = each.result.measured.seed
            if seed in cell:
                first = cell[seed][0]
                doubles[str(first.measured.folder), str(each.result.measured.folder)] = (first, each.result)
                continue
            cell[seed] = (each.result, error)
    full = not key.departures
    # Named, and not kept apart for: a table has a block a network, and Table VI a column a length.
    off = sorted(
        {each for one in placed for each in _off_the_axes(spec, one.result)} - set(key.departures), key=natural
    )
    blocks = _blocks(spec, runs, full)
    measured = {place.column for place, cell in runs.items() if cell or not spec.along}
    columns = _ordered(spec.columns, measured, (full and not spec.along) or spec.id == "table3_ce")
    # Without the complete ImageNet-C, the corruptions that there are.
    every = full or spec.id != "table3_ce"
    there = [place for place, cell in runs.items() if cell or every]
    rows = {block: _ordered(spec.rows, (p.row for p in there if p.block == block), every) for block in blocks}
    cells = {}
    for place in _places(spec, runs, blocks, rows, columns):
        cell = Cell(place, runs.get(place, {}), published=_published(spec, place, full))
        # A variant of an encoding is none of the paper's rows.
        cells[place.block, place.row, place.column] = replace(cell, comparable=full and "|" not in place.row)
    cells = {where: _with_difference(spec, cell, runs) for where, cell in cells.items()}
    return Table(
        spec,
        (*key.departures, *off),
        key.trained,
        key.apart,
        blocks,
        rows,
        columns,
        cells,
        tuple(each.result for each in placed),
        tuple(sorted({each.departures.remark for each in placed if each.departures.remark})),
        tuple(doubles[pair] for pair in sorted(doubles)),
    )


def _without_variants(spec: TableSpec, placed: Sequence[_Placed]) -> list[_Placed]:
    """Of an encoding with the published settings and others, the published alone: the others have their own tables."""
    if spec.id not in ("table2", "table3", "table3_ce", "table4", "table6", "table7"):
        return list(placed)
    usual = {place.row for each in placed for place in each.places if "|" not in place.row}
    return [
        each
        for each in placed
        if all("|" not in place.row or place.row.partition("|")[0] not in usual for place in each.places)
    ]


def _along(spec: TableSpec, placed: Sequence[_Placed]) -> list[_Placed]:
    """Of a table along M or lambda, the blocks that have several; all where none has."""
    several = blocks_with_several_rows(place for each in placed for place in each.places) if spec.along else set()
    several |= {_without_m(block) for block in several} if spec.id == "m_lambda" else set()
    kept = [
        each
        for each in placed
        if not several or any({place.block, _without_m(place.block)} & several for place in each.places)
    ]
    return kept


def _without_m(block: str) -> str:
    return block.partition("/M = ")[0]


def _blocks(spec: TableSpec, runs: Iterable[Place], full: bool) -> tuple[str, ...]:
    """At full scale every block of the paper, under the runs' own names of its network."""
    found = sorted({place.block for place in runs}, key=natural)
    if spec.blocks.keys() & {family(block) for block in found}:
        order = {name: number for number, name in enumerate(spec.blocks)}
        missing = [name for name in spec.blocks if full and name not in {family(block) for block in found}]
        return tuple(sorted([*found, *missing], key=lambda block: (order.get(family(block), 99), natural(block))))
    return tuple(found) if not full or found else tuple(spec.blocks)


def _ordered(labels: dict[str, str], found: Iterable[str], add: bool) -> tuple[str, ...]:
    """Keys in the order of the paper; with ``add``, those too that nothing was measured of."""
    there = set(found)
    plain = {key.partition("|")[0] for key in there}
    known = [key for key in labels if key in there or (add and key not in plain)]
    order = {key: number for number, key in enumerate(labels)}
    rest = there - set(known)
    return tuple(sorted({*known, *rest}, key=lambda key: (order.get(key.partition("|")[0], 99), natural(key))))


def _places(
    spec: TableSpec,
    runs: Iterable[Place],
    blocks: Sequence[str],
    rows: dict[str, tuple[str, ...]],
    columns: Sequence[str],
) -> list[Place]:
    """Every place of the table; what is measured in one that no run fills is what it is in the others."""
    measures: dict[str, str] = {}
    for place in runs:
        measures[place.row if spec.id == "table3_ce" else place.column] = place.measure
    found = []
    for block in blocks:
        for row in rows[block]:
            for column in columns:
                key = row if spec.id == "table3_ce" else column
                found.append(Place(block, row, column, measures.get(key) or next(iter(measures.values()))))
    return found


def _published(spec: TableSpec, place: Place, full: bool) -> Published | None:
    names = {"table2", "table3", "table3_ce", "table6"}
    block = family(place.block) if spec.id in names else place.block
    if full and "|" in place.row:  # no row of the paper's
        return None
    return PUBLISHED.get((spec.id, block, place.row.partition("|")[0], place.column.partition("|")[0]))


def _with_difference(spec: TableSpec, cell: Cell, runs: dict[Place, dict[int, tuple[Result, float]]]) -> Cell:
    reference = spec.reference(cell.place)
    if reference is None or not cell.runs or not runs.get(reference):
        return cell
    return replace(cell, compared=compare_cells(runs[reference], cell.runs, cell.place.measure))


def natural(text: str) -> list[tuple[float, str]]:
    """Sort key by the numbers in a text: M = 128 is behind M = 16."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return [(float(part), "") if part[:1].isdigit() else (-1.0, part) for part in parts if part]
