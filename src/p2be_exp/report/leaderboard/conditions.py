"""The counts of an evaluation, from its ``results.json``: everything else on a leaderboard is computed from these."""

from __future__ import annotations

import math
import re

from p2be_exp.corruptions.names import ALL
from p2be_exp.evaluation.saved_results import MOST_IMAGES
from p2be_exp.report.leaderboard.checked import Checked
from p2be_exp.report.measured import Counts
from p2be_exp.statistics.intervals import wilson_interval

ROUNDED = 1e-3
"""Percentage points that two errors may differ by: they are written with four decimals."""

_CONDITION = re.compile(rf"clean|corruption/({'|'.join(ALL)})/[1-5]|attack/[^/\s]{{1,200}}/\d{{1,3}}")


def read_conditions(summary: Checked) -> dict[str, Counts]:
    """The counts by condition; without any: empty, since nothing was measured yet.

    Raises:
        BadInput: a condition that is none, impossible counts, or an error that is not that of its counts.
    """
    found = {}
    for name, row in summary["conditions"].items():
        if not _CONDITION.fullmatch(name) or not name.isprintable():
            raise row.refused("one of clean, corruption/NAME/SEVERITY, attack/ID/EPS_LEVELS")
        n = row["n"].whole(1, MOST_IMAGES)
        found[name] = counts = Counts(row["n_wrong"].whole(0, n), n)
        check_equal(row["error"], counts.error, f"{counts.n_wrong} of {n} images")
    return found


def check_equal(written: Checked, computed: float, of: str) -> None:
    """Check that a number in the file is what follows from its counts.

    Raises:
        BadInput: it is not.
    """
    if not math.isclose(written.number(0, 1e6), computed, rel_tol=0, abs_tol=ROUNDED):
        raise written.refused(f"{computed:.4f}, as {of} make it")


def interval(counts: Counts) -> tuple[float, float]:
    """Wilson's 95 % interval of an error, in percent."""
    low, high = wilson_interval(counts.n_wrong, counts.n)
    return 100 * low, 100 * high
