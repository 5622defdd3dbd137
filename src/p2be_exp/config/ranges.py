"""``range(...)`` in an override: its number of values, computed before Hydra lists them."""

from __future__ import annotations

import math
import re

from p2be_exp.errors import BadInput

MOST_JOBS = 10_000
"""The largest grid, and the longest range in it: a larger one is a typing error."""

_RANGE = re.compile(r"\brange\(([^()]*)\)")
_NAMES = ("start", "stop", "step")


def check_ranges(argument: str) -> None:
    """Check that every range in an override has between 1 and :data:`MOST_JOBS` values.

    Hydra lists some ranges while it parses the argument (``shuffle(range(...))``), the others when it makes the jobs.

    Raises:
        BadInput: a range has none, or too many.
    """
    for found in _RANGE.finditer(argument):
        count = _count(found.group(1))
        if count is not None and not 1 <= count <= MOST_JOBS:
            number = f"{count:,}" if count < 10**15 else f"{count:.0e}"
            raise BadInput(f"{argument}: {found.group()} has {number} values; must have between 1 and {MOST_JOBS:,}")


def _count(text: str) -> float | None:
    """Number of values of a range; None if Hydra's grammar will reject it, infinity if it never ends."""
    given: dict[str, float] = {}
    for position, part in enumerate(text.split(",")):
        name, equals, value = part.rpartition("=")
        name = name.strip() if equals else _NAMES[position] if position < len(_NAMES) else ""
        try:
            given[name] = float(value)
        except ValueError:
            return None
    if "stop" not in given and set(given) == {"start"}:
        given = {"start": 0.0, "stop": given["start"]}
    if not {"start", "stop"} <= set(given) <= set(_NAMES):
        return None
    start, stop, step = given["start"], given["stop"], given.get("step", 1.0)
    if step == 0 or not all(map(math.isfinite, (start, stop, step))):
        return math.inf
    span = (stop - start) / step
    return max(0, math.ceil(span)) if math.isfinite(span) else math.inf
