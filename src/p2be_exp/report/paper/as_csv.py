"""The report's tables as CSV: a row a cell, in full precision, with all that is known of it."""

from __future__ import annotations

import csv
import io
from typing import Any

from p2be_exp.report.paper.cells import Cell, Table

COLUMNS = (
    "table",
    "full_scale",
    "departures",
    "trained_in",
    "kept_apart",
    "block",
    "row",
    "column",
    "measure",
    "mean",
    "sd",
    "n_seeds",
    "seeds",
    "values",
    "against",
    "difference",
    "ci_low",
    "ci_high",
    "interval",
    "interval_seeds_reference",
    "interval_seeds",
    "no_interval_since",
    "published",
    "published_sd",
    "published_source",
    "ours_minus_published",
    "runs",
)


def as_csv(table: Table, name: str) -> str:
    """The cells of a table; what is missing or not known is an empty field.

    Args:
        table: filled.
        name: its ID in the report.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_facts(table, name, cell) for cell in table.cells)
    return text.getvalue()


def _facts(table: Table, name: str, cell: Cell) -> dict[str, Any]:
    seeds = sorted(cell.runs)
    facts = {
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
        "seeds": " ".join(map(str, seeds)),
        "values": " ".join(repr(value) for value in cell.values),
        "ours_minus_published": cell.minus_published,
        "runs": ";".join(str(cell.runs[seed][0].measured.folder) for seed in seeds),
    }
    if (found := cell.compared) is not None:
        facts |= {"against": table.spec.against, "difference": found.difference, "ci_low": found.low}
        facts |= {"ci_high": found.high, "interval": found.kind, "no_interval_since": found.why_not}
        sides = (" ".join(map(str, side)) for side in found.seeds)
        facts |= dict(zip(("interval_seeds_reference", "interval_seeds"), sides, strict=True))
    if (printed := cell.published) is not None:
        facts |= {"published": "N/A" if printed.value is None else printed.value, "published_sd": printed.sd}
        facts["published_source"] = printed.source
    return {key: "" if value is None else value for key, value in facts.items()}
