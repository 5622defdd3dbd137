"""How many steps the optimizer of a run took: of a regime with several in a batch more than there were batches."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import pairwise

from p2be_exp.config.schema import FPDConfig
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.keys import format_value
from p2be_exp.system.foreign_files import read_text

_JOINT = "train/joint"
"""The column with the share of an epoch's images that were in batches with a second step."""


def optimizer_steps(result: Result) -> int | None:
    """Of the whole training, where the last checkpoint was measured; None where it is not known.

    Of ``regime=fpd`` the batches with a second step are counted twice. They are those of ``metrics.csv``, to the
    nearest batch of an epoch, whose last batch may be smaller than the others.
    """
    batches = result.settings.get("step")
    if not isinstance(batches, int) or result.settings.get("checkpoint", "last") != "last":
        return None
    if not isinstance(result.config.regime, FPDConfig):
        return batches
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(result.run.metrics_file), newline="")))
        ends = [0, *(int(row["step"]) for row in rows)]
        shares = [float(row[_JOINT]) for row in rows]
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        return None
    if ends[-1] != batches:
        return None
    of_epochs = zip(shares, pairwise(ends), strict=True)
    seconds = [round(share * (end - start)) for share, (start, end) in of_epochs]
    return batches + sum(seconds)


def steps_note(results: Sequence[Result]) -> str:
    """The optimizers of some runs and how many steps each took, so that equal steps are seen to be equal."""
    optimizers = {(getattr(each.config.optim, "name", "sgd"), each.config.optim.lr) for each in results}
    named = " or ".join(f"optim={name}, lr {format_value(lr)}" for name, lr in sorted(optimizers))
    one = [optimizer_steps(each) for each in results if not isinstance(each.config.regime, FPDConfig)]
    two = [optimizer_steps(each) for each in results if isinstance(each.config.regime, FPDConfig)]
    told = [_range(one)] if one else []
    if two:
        told.append(f"{_range(two)} with regime=fpd, which takes two in a batch that is not badly restored")
    return f"Optimizer steps ({named}): {'; '.join(told)}."


def _range(counts: Sequence[int | None]) -> str:
    known = [each for each in counts if each is not None]
    if len(known) < len(counts):
        return "not known of every run"
    first, last = min(known), max(known)
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"
