"""The report's tables as CSV: one row per cell, in full precision, with all that is known of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from p2be_exp.report.paper.cells import Cell, Table


def as_csv(table: Table, name: str) -> str:
    """The cells of a table; what is missing or not known is an empty field.

    Args:
        table: filled.
        name: its ID in the report.
    """
    rows = [_row(table, name, cell) for cell in table.cells]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _row(table: Table, name: str, cell: Cell) -> dict[str, Any]:
    """The fields of a cell by column, in the order of the columns; the writer leaves None empty."""
    seeds, compared, printed = sorted(cell.runs), cell.compared, cell.published
    of_reference, of_cell = map(_joined, compared.seeds) if compared else (None, None)
    return {
        "table": name,
        "full_scale": str(table.full).lower(),
        "departures": "; ".join(table.departures),
        "trained_in": "; ".join(table.trained),
        "kept_apart": "; ".join(table.apart),
        "block": cell.key.block,
        "row": cell.key.row,
        "column": cell.key.column,
        "measure": cell.key.measure,
        "mean": cell.mean,
        "sd": cell.sd,
        "n_seeds": len(seeds),
        "seeds": _joined(seeds),
        "values": _joined(cell.values),
        "against": compared and table.spec.against,
        "difference": compared and compared.difference,
        "ci_low": compared and compared.low,
        "ci_high": compared and compared.high,
        "interval": compared and compared.kind,
        "interval_seeds_reference": of_reference,
        "interval_seeds": of_cell,
        "no_interval_since": compared and compared.why_not,
        "published": printed and ("N/A" if printed.value is None else printed.value),
        "published_sd": printed and printed.sd,
        "published_source": printed and printed.source,
        "ours_minus_published": cell.minus_published,
        "runs": ";".join(str(cell.runs[seed][0].folder) for seed in seeds),
    }


def _joined(values: Iterable[float]) -> str:
    return " ".join(map(repr, values))
