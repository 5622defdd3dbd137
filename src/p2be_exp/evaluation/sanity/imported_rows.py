"""Imported images as the panel sees them: made without this model, for all that is known."""

from __future__ import annotations

from p2be_exp.evaluation.results import IMPORTED, Results
from p2be_exp.evaluation.sanity.checks import Measured


def imported_rows(results: Results) -> list[Measured]:
    """The rows of images that somebody made elsewhere."""
    wrong = results.wrong()
    return [
        Measured(row.name, "transfer", row.eps_levels or 0, row.n, row.n_wrong, wrong[row.condition])
        for row in results.rows.values()
        if row.name.startswith(IMPORTED)
    ]
