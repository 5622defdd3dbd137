"""From runs to filled tables: which runs share a cell, which cells are missing, what each is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean, stdev
from typing import NamedTuple

from p2be_exp.report.difference import Compared
from p2be_exp.report.paper.apart import FLOAT32, how_trained, kept_apart
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.keys import CellKey, Key, natural
from p2be_exp.report.paper.measures import value
from p2be_exp.report.paper.published import FAMILIES, Published
from p2be_exp.report.paper.recipe import Departures, departures
from p2be_exp.report.paper.reference import compare_cells
from p2be_exp.report.paper.tables import OTHER, TABLES, TableSpec, blocks_with_several_rows, family, takes

Runs = dict[int, tuple[Result, float]]
"""By seed, the run and its value in percent."""


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        key: its position, and what it is.
        runs: by seed, the run and its value in percent; empty where nothing was measured.
        compared: with the table's reference; None without one.
        published: what the paper printed there, if it did.
        comparable: whether the published number may be subtracted from ours.
    """

    key: CellKey
    runs: Runs
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
        """Ours minus published, where the two are comparable."""
        if self.mean is None or not self.comparable or self.published is None or self.published.value is None:
            return None
        return self.mean - self.published.value


@dataclass(frozen=True)
class Table:
    """A table, filled by runs that depart from the paper in the same things, and were trained and measured alike.

    Attributes:
        spec: which.
        departures: how its runs depart from the paper; empty at full scale.
        trained: see :func:`p2be_exp.report.paper.apart.how_trained`.
        apart: see :func:`p2be_exp.report.paper.apart.kept_apart`.
        cells: the frame that every form of the report is made from: one record per cell, in reading order.
        results: the runs in it.
        remarks: the ``departs_from_paper`` of the runs.
        doubles: runs left out since another run has their cell and seed.
    """

    spec: TableSpec
    departures: tuple[str, ...]
    trained: tuple[str, ...]
    apart: tuple[str, ...]
    cells: tuple[Cell, ...]
    results: tuple[Result, ...]
    remarks: tuple[str, ...]
    doubles: tuple[tuple[Result, Result], ...]

    @property
    def full(self) -> bool:
        """Whether it is the paper's recipe at its scale."""
        return not self.departures

    @cached_property
    def columns(self) -> tuple[Key, ...]:
        """In their order."""
        return tuple(dict.fromkeys(cell.key.column for cell in self.cells))

    @cached_property
    def blocks(self) -> dict[Key, dict[Key, dict[Key, Cell]]]:
        """The cells by block, row and column, in their order."""
        found: dict[Key, dict[Key, dict[Key, Cell]]] = {}
        for cell in self.cells:
            found.setdefault(cell.key.block, {}).setdefault(cell.key.row, {})[cell.key.column] = cell
        return found

    def of_column(self, column: Key) -> list[Cell]:
        """The cells of a column."""
        return [cell for cell in self.cells if cell.key.column == column]


class _Section(NamedTuple):
    """What the runs of a table have in common."""

    departures: tuple[str, ...]
    trained: tuple[str, ...]
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Placed:
    result: Result
    departures: Departures
    cells: tuple[CellKey, ...]


def fill_tables(results: Sequence[Result], shown: Sequence[Result] = ()) -> list[Table]:
    """Every table of the paper that has a run, full scale first; the order of the results does not matter.

    Args:
        results: of finished runs.
        shown: those among them that something else of the report has; where no table takes them, they are left out.

    Returns:
        The tables; those that no table of the paper takes are in the last ones.
    """
    ordered = sorted(results, key=lambda result: str(result.folder))
    tables = [table for spec in TABLES for table in _tables(spec, ordered)]
    tables = [table for table in tables if any(cell.runs for cell in table.cells)]
    tables = [table for table in tables if not _shown_by_another(table, tables)]
    used = {id(result) for table in tables for result in table.results} | {id(result) for result in shown}
    return tables + list(_tables(OTHER, [result for result in ordered if id(result) not in used]))


def _tables(spec: TableSpec, results: Iterable[Result]) -> list[Table]:
    sections: dict[_Section, list[_Placed]] = {}
    for result in results:
        if result.scale == "small" and result.sweep not in spec.sweeps and spec is not OTHER:
            continue  # a small sweep is about its own table
        if not takes(spec, result) or not spec.cells(result, ""):
            continue
        found = departures(result, spec.recipe)
        cells = tuple(spec.cells(result, ", ".join(found.row)))
        section = _Section(found.all or _off_the_axes(spec, result), how_trained(result))
        sections.setdefault(section, []).append(_Placed(result, found, cells))
    sections = _apart(sections)
    shown = _worth_showing(spec, sections)
    order = sorted(
        shown, key=lambda each: (len(each.departures) > 0, each.departures, each.trained != (FLOAT32,), each)
    )
    return [_table(spec, section, sections[section]) for section in order]


def _apart(sections: dict[_Section, list[_Placed]]) -> dict[_Section, list[_Placed]]:
    """The same sections; one whose runs must not be in one mean, in parts."""
    found: dict[_Section, list[_Placed]] = {}
    for section, placed in sections.items():
        for each, apart in zip(placed, kept_apart([each.result for each in placed]), strict=True):
            found.setdefault(section._replace(apart=apart), []).append(each)
    return found


def _worth_showing(spec: TableSpec, sections: dict[_Section, list[_Placed]]) -> list[_Section]:
    """The sections worth showing; if none of a sweep's own is, all of that sweep, with missing cells."""
    wanted = [
        section for section, placed in sections.items() if spec.wanted([cell for each in placed for cell in each.cells])
    ]
    requested = [key for key, placed in sections.items() if any(each.result.sweep in spec.sweeps for each in placed)]
    return wanted if set(wanted) & set(requested) else list(dict.fromkeys([*wanted, *requested]))


def _off_the_axes(spec: TableSpec, result: Result) -> tuple[str, ...]:
    """A network or a length of training that no published table has."""
    if spec.methods:
        return ()
    network, epochs = result.config.network, str(result.config.epochs)
    expected = ("resnet50",) if spec.recipe.imagenet else ("wrn", "densenet", "resnext")
    if FAMILIES.get(network) not in expected:
        return (f"network {network}",)
    return (f"epochs = {epochs}",) if spec.columns_are == "lengths" and Key(epochs) not in spec.columns else ()


def _shown_by_another(table: Table, tables: Sequence[Table]) -> bool:
    """Whether a table is one column of another at full scale: a Table II of another length, of Table VI."""
    for other in tables:
        if other.spec.id == table.spec.shown_by and other.full and other.trained == table.trained:
            return table.departures in {(f"epochs = {length} instead of 200",) for length in other.spec.columns}
    return False


def _table(spec: TableSpec, section: _Section, placed: Sequence[_Placed]) -> Table:
    placed = _along(spec, _without_variants(spec, placed))
    runs, doubles = _runs(placed)
    full = not section.departures
    # Named, and not kept apart for: a table has a block a network, and one along lengths a column a length.
    off = {each for one in placed for each in _off_the_axes(spec, one.result)} - set(section.departures)
    cells = [_cell(spec, key, runs, full) for key in _layout(spec, runs, full)]
    return Table(
        spec,
        (*section.departures, *sorted(off, key=natural)),
        section.trained,
        section.apart,
        tuple(cells),
        tuple(each.result for each in placed),
        tuple(sorted({each.departures.remark for each in placed if each.departures.remark})),
        doubles,
    )


def _runs(placed: Sequence[_Placed]) -> tuple[dict[CellKey, Runs], tuple[tuple[Result, Result], ...]]:
    """By cell, what was measured; and pairs of runs of one seed, of which the second is left out."""
    runs: dict[CellKey, Runs] = {}
    doubles: dict[tuple[str, str], tuple[Result, Result]] = {}
    for each in placed:
        for key in each.cells:
            cell, seed, error = runs.setdefault(key, {}), each.result.seed, value(each.result, key.measure)
            if error is None:
                continue
            if seed in cell:
                first = cell[seed][0]
                doubles[str(first.folder), str(each.result.folder)] = (first, each.result)
            else:
                cell[seed] = (each.result, error)
    return runs, tuple(doubles[pair] for pair in sorted(doubles))


def _without_variants(spec: TableSpec, placed: Sequence[_Placed]) -> Sequence[_Placed]:
    """Without the variants of an encoding that is there with the published settings: they have their own tables."""
    if not spec.variants_apart:
        return placed
    usual = {cell.row.name for each in placed for cell in each.cells if not cell.row.variant}
    return [each for each in placed if not any(cell.row.variant and cell.row.name in usual for cell in each.cells)]


def _along(spec: TableSpec, placed: Sequence[_Placed]) -> Sequence[_Placed]:
    """Of a table along a setting, the blocks that have several rows, and those beside them; all where none has."""
    if not spec.along:
        return placed
    several = {_whole(block) for block in blocks_with_several_rows(cell for each in placed for cell in each.cells)}
    return [each for each in placed if not several or any(_whole(cell.block) in several for cell in each.cells)]


def _whole(block: Key) -> Key:
    """What a block is one setting of."""
    return replace(block, setting=None)


# -- the layout -------------------------------------------------------------------------------------------------------


def _layout(spec: TableSpec, runs: dict[CellKey, Runs], full: bool) -> list[CellKey]:
    """Every cell of a table in its order; what is measured in one that no run fills is what it is in the others."""
    # Without the complete ImageNet-C, the corruptions that there are.
    every = (full or not spec.corruption_a_row) and not spec.methods
    shown = [key for key, cell in runs.items() if cell or every]
    some = spec.along or spec.measured_alone
    measured = [key.column for key, cell in runs.items() if cell or not some]
    columns = _ordered(spec.columns, measured, (full and not some) or spec.corruption_a_row)
    measures = {key.row if spec.corruption_a_row else key.column: key.measure for key in runs}
    found = []
    for block in _blocks(spec, runs, full):
        for row in _ordered(spec.rows, [key.row for key in shown if key.block == block], every):
            for column in columns:
                measure = measures.get(row if spec.corruption_a_row else column) or next(iter(measures.values()))
                found.append(CellKey(block, row, column, measure))
    return found


def _blocks(spec: TableSpec, runs: Iterable[CellKey], full: bool) -> list[Key]:
    """At full scale every block of the paper, under the runs' own names of its network."""
    found = sorted({key.block for key in runs}, key=natural)
    families = {family(block) for block in found}
    if set(spec.blocks) & families:
        order = {block: number for number, block in enumerate(spec.blocks)}
        missing = [block for block in spec.blocks if full and block not in families]
        return sorted([*found, *missing], key=lambda block: (order.get(family(block), 99), natural(block)))
    return found if not full or found else list(spec.blocks)


def _ordered(keys: Sequence[Key], found: Iterable[Key], add: bool) -> list[Key]:
    """Keys in the order of the paper; with ``add``, also those without a measurement."""
    there = set(found)
    plain = {key.published for key in there}
    known = [key for key in keys if key in there or (add and key not in plain)]
    order = {key: number for number, key in enumerate(keys)}
    return sorted({*known, *there}, key=lambda key: (order.get(key.published, 99), natural(key)))


def _cell(spec: TableSpec, key: CellKey, runs: dict[CellKey, Runs], full: bool) -> Cell:
    own, reference = runs.get(key, {}), spec.compared_with(key)
    beside = runs.get(reference, {}) if reference else {}
    compared = compare_cells(beside, own, key.measure) if own and beside else None
    # A variant of an encoding is not a row of the paper.
    position = (str(family(key.block)), str(key.row.published), str(key.column.published))
    published = None if full and key.row.variant else spec.printed.numbers.get(position)
    return Cell(key, own, compared, published, comparable=full and not key.row.variant)
