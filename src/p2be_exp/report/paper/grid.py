"""A filled table in words, which every form of the report, from the terminal to the page, then only lays out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from p2be_exp.report.difference import KINDS, Compared, signed
from p2be_exp.report.paper.apart import FLOAT32
from p2be_exp.report.paper.cells import Cell, Table
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.keys import Key
from p2be_exp.report.paper.measures import NORMALISED, corruptions, source_of
from p2be_exp.report.paper.published import NETWORKS
from p2be_exp.report.paper.recipe import over
from p2be_exp.report.paper.tables import family, option_label

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EM DASH} missing"
FEWER, MORE = "\N{BLACK DOWN-POINTING TRIANGLE}", "\N{BLACK UP-POINTING TRIANGLE}"
LETTERS = {"paired": "p", "welch": "w", "networks": "n"}
"""Of the kinds of intervals."""


@dataclass(frozen=True)
class Text:
    """One cell as it is read.

    Attributes:
        text: as plain text.
        kind: ``ours``, ``difference``, ``published``, ``gap``.
        missing: nothing was measured there.
        direction: of a difference, see :class:`p2be_exp.report.difference.Compared`.
    """

    text: str
    kind: str
    missing: bool = False
    direction: str = ""


@dataclass(frozen=True)
class Grid:
    """A table in words.

    Attributes:
        id: of the files, unique in a report.
        heading: number and title.
        warning: why it cannot be compared with the paper; empty at full scale.
        sentence: what was measured.
        corner: what the rows are.
        head: the columns, each with the headings of its parts.
        blocks: label, and rows of label and cells.
        notes: how to read it, and the paper's inconsistencies.
        short: the heading as a list of tables has it; empty: the heading itself.
    """

    id: str
    heading: str
    warning: str
    sentence: str
    corner: str
    head: tuple[tuple[str, tuple[str, ...]], ...]
    blocks: tuple[tuple[str, tuple[tuple[str, tuple[Text, ...]], ...]], ...]
    notes: tuple[str, ...]
    short: str = ""


def grids(tables: Iterable[Table]) -> list[Grid]:
    """The tables in words, each with an ID of its own: ``table2``, ``table2-2``, ``table2-departing-1``, ..."""
    found: list[Grid] = []
    counts: dict[str, int] = {}
    tables = list(tables)
    alike = Counter((table.spec.id, table.departures) for table in tables)
    for table in tables:
        name = table.spec.id if table.full else f"{table.spec.id}-departing"
        counts[name] = counts.get(name, 0) + 1
        number = f"-{counts[name]}" if not table.full or counts[name] > 1 else ""
        found.append(_grid(table, f"{name}{number}", alike[table.spec.id, table.departures] > 1))
    return found


def _grid(table: Table, name: str, has_others_like_it: bool) -> Grid:
    parts = {column: _parts(table, column) for column in table.columns}

    def texts(cells: Mapping[Key, Cell]) -> tuple[Text, ...]:
        return tuple(_text(cells[column], part) for column in parts for part in parts[column])

    return Grid(
        id=name,
        heading=_heading(table) + (f" ({_kept_apart(table)})" if has_others_like_it else ""),
        warning=_warning(table),
        sentence=_sentence(table),
        corner=table.spec.row_head,
        head=tuple((_column_label(table, column), tuple(of.values())) for column, of in parts.items()),
        blocks=tuple(
            (_block_label(table, block), tuple((table.spec.row_label(row), texts(of)) for row, of in rows.items()))
            for block, rows in table.blocks.items()
        ),
        notes=_notes(table, parts),
        short=_titled(table) + ("" if table.full else " (not comparable with the paper)"),
    )


def _heading(table: Table) -> str:
    """Number and title; of other runs than the paper's, first that they are."""
    heading = _titled(table)
    if table.full:
        return heading
    which = ", ".join(table.departures[:2]) + ", ..." * (len(table.departures) > 2)
    return (
        f"Not comparable with the paper ({which}), in the form of {heading}"
        if table.spec.printed.source
        else f"{heading} ({which})"
    )


def _titled(table: Table) -> str:
    """Number in the paper, where it has one, and title."""
    source, title = table.spec.printed.source, table.spec.title
    return f"{source}: {title}" if source else title[0].upper() + title[1:]


def _kept_apart(table: Table) -> str:
    """What distinguishes a table from others of the same recipe."""
    return ", ".join([f"trained in {table.trained[0]}", *table.trained[1:], *table.apart])


def _column_label(table: Table, column: Key) -> str:
    label, kinds = table.spec.column_label(column), {cell.key.measure.kind for cell in table.of_column(column)}
    if table.spec.corruption_a_row and "error" in kinds:
        label += ", error"
    return label if kinds & NORMALISED else f"{label}, %"


def _parts(table: Table, column: Key) -> dict[str, str]:
    """The parts of a column that have something to show, with their headings."""
    cells, parts = table.of_column(column), {"ours": "ours"}
    if table.spec.differences and any(cell.compared for cell in cells):
        parts["difference"] = f"{MINUS} {table.spec.against}"
    if any(cell.published for cell in cells):
        parts["published"] = "published" if table.full else "published, not comparable"
    if any(cell.minus_published is not None for cell in cells):
        parts["gap"] = f"ours {MINUS} published"
    return parts


def _block_label(table: Table, block: Key) -> str:
    spec, network = table.spec, NETWORKS.get(str(family(block)))
    label = ", ".join(filter(None, (spec.block_label(block), spec.block_details.get(str(block)))))
    return f"{label} (the paper: {network})" if network and network != label else label


# -- one cell ---------------------------------------------------------------------------------------------------------


def _text(cell: Cell, part: str) -> Text:
    if part == "ours":
        return Text(ours(cell), part, missing=not cell.runs)
    if part == "published":
        return Text(published(cell), part)
    if part == "gap":
        return Text("" if cell.minus_published is None else _minus(cell.minus_published), part)
    return Text(difference(cell.compared), part, direction=cell.compared.direction if cell.compared else "")


def ours(cell: Cell) -> str:
    """Mean, standard deviation over seeds and number of seeds: ``34.21 ± 0.20 (5)``."""
    if cell.mean is None:
        return MISSING
    spread = "" if cell.sd is None else f" ± {cell.sd:.2f}"
    return f"{cell.mean:.2f}{spread} ({len(cell.runs)})"


def published(cell: Cell) -> str:
    """As the paper prints it."""
    if cell.published is None:
        return ""
    if cell.published.value is None:
        return "N/A"
    spread = "" if cell.published.sd is None else f" ± {cell.published.sd}"
    return f"{cell.published.value}{spread}"


def difference(compared: Compared | None) -> str:
    """A difference with its interval and the letter of its kind; a triangle where the interval does not hold 0.

    Seeds are named where it is not of all that the two cells have.
    """
    if compared is None:
        return ""
    text, seeds = _minus(compared.difference), f", {_seeds(compared)}" if compared.in_part else ""
    if compared.low is None or compared.high is None:
        return f"{text} (no interval{seeds})"
    if compared.low == compared.high:
        return f"{text} (no spread{seeds})"
    mark = {"fewer": f"{FEWER} ", "more": f"{MORE} ", "": ""}[compared.direction]
    return f"{mark}{text} [{_minus(compared.low)}, {_minus(compared.high)}] {LETTERS[compared.kind]}{seeds}"


def _seeds(compared: Compared) -> str:
    """Those of both sides, each once: ``seeds 0 to 3``, ``seed 1``; where they differ, the cell's first."""
    first, second = compared.seeds
    if first != second:
        return f"seed {' '.join(map(str, second))} {MINUS} seed {' '.join(map(str, first))}"
    if len(first) > 2 and first == tuple(range(first[0], first[-1] + 1)):
        return f"seeds {first[0]} to {first[-1]}"
    return f"seed{'s' * (len(first) > 1)} {' '.join(map(str, first))}"


def _minus(points: float) -> str:
    """A signed number with the typographic minus."""
    return signed(points).replace("-", MINUS)


# -- the text around it ------------------------------------------------------------------------------------------------


def _warning(table: Table) -> str:
    if table.full:
        return ""
    start = "Small scale or another recipe: not comparable with the published numbers."
    recipe = f"full scale of sweeps={table.spec.sweeps[0]}" if table.spec.methods else "paper"
    return f"{start} These runs depart from the {recipe} in: {'; '.join(table.departures)}."


def _sentence(table: Table) -> str:
    """What was measured, on what, by how many seeds, with which versions, and how much is missing."""
    results = table.results
    datasets = _listed(option_label(each.settings["dataset"]) for each in results)
    images = _listed(f"{each.counts['clean'].n:,}" for each in results if "clean" in each.counts)
    source = _corrupted(table)
    seeds = sorted({each.seed for each in results})
    networks = _listed(each.config.network for each in results)
    presets = _listed(each.config.preset.name for each in results)
    versions = _listed(
        f"torch {torch}" for each in results if (torch := (each.info.get("versions") or {}).get("torch"))
    )
    commits = _listed(str(each.info["git_commit"])[:7] for each in results if each.info.get("git_commit"))
    runs = {each.run_folder for each in results}
    missing = sum(not cell.runs for cell in table.cells)
    facts = [
        f"{len(runs)} run{'s' * (len(runs) > 1)} on {datasets}",
        f"{images} test images" if images else "",
        source,
        f"networks {networks}",
        f"preset {presets}",
        _trained(table),
        *table.apart,
        f"seed{'s' * (len(seeds) > 1)} {' '.join(map(str, seeds))}",
        versions,
        f"commit {commits}" if commits else "",
    ]
    gaps = f"{missing} of {len(table.cells)} cells are missing" if missing else "no cell is missing"
    scale = "full scale" if table.full else "not at full scale"
    return f"Measured {scale}: {'; '.join(fact for fact in facts if fact)}; {gaps}."


def _trained(table: Table) -> str:
    precision, *processes = table.trained
    beside = "" if precision == FLOAT32 else f" (the paper's code: {FLOAT32})"
    return ", ".join([f"trained in {precision}{beside}", *processes])


def _corrupted(table: Table) -> str:
    if not {cell.key.measure.kind for cell in table.cells} & {"corruption", "error", *NORMALISED}:
        return ""
    found = {f"corrupted images: {source_of(each)}, {over(each)}" for each in table.results if corruptions(each)}
    return " and ".join(sorted(found)) or "no corrupted images"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))


def _notes(table: Table, parts: dict[Key, dict[str, str]]) -> tuple[str, ...]:
    shown = {part for of in parts.values() for part in of}
    notes = ["Ours: mean ± standard deviation over seeds, percent; the number of seeds in brackets."]
    kinds = [cell.compared.kind for cell in table.cells if cell.compared and cell.compared.kind]
    if "difference" in shown:
        letters = "; ".join(f"{LETTERS[kind]}: {KINDS[kind]}" for kind in KINDS if kind in kinds)
        notes.append(
            f"{MINUS} {table.spec.against}: the difference in points, with its 95 % interval, each for itself, not "
            f"corrected for their number; {FEWER} fewer errors, {MORE} more, only where the interval does not hold 0."
            + (f" {letters}." if letters else "")
        )
        reasons = {cell.compared.why_not for cell in table.cells if cell.compared and cell.compared.why_not}
        if reasons:
            more = f"; and {len(reasons) - 1} more like it" if len(reasons) > 1 else ""
            notes.append(f"No interval: {min(reasons)}{more}.")
    elif kinds:
        notes.append(f"Differences to {table.spec.against} and their intervals: in the CSV file.")
    measured = {cell.key.measure.kind for cell in table.cells}
    if measured & NORMALISED:
        notes.append(
            "CE: error of a corruption over its severities, in percent of AlexNet's; mCE: the mean of the CEs."
        )
    if "lspga" in measured:
        notes.append("An error under LS-PGA is that of one attack, not a measure of robustness.")
    notes += table.spec.remarks(table.results)
    notes += [f"The runs' own remark: {remark}." for remark in table.remarks]
    notes += [_double(first, second) for first, second in table.doubles]
    notes += [f"Paper: {note}" for note in table.spec.printed.notes]
    return tuple(notes)


def _double(first: Result, second: Result) -> str:
    if first.run_folder == second.run_folder:
        return f"Measured twice: what {first.folder} and {second.folder} both have is taken from the first."
    return f"Seed {first.seed} twice: {second.folder} is left out where {first.folder} has the place."
