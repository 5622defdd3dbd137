"""What of a work goes into which of its parts: seconds, launches, or anything else that adds up."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.turns import synchronize

WAITING, VIEWS, ATTACK, STEM, TRUNK, LOSS, BACKWARD, OPTIMIZERS, FRAMEWORK = PARTS = (
    "waiting",
    "views",
    "inner attack",
    "stem",
    "trunk forward",
    "loss",
    "backward",
    "optimizers",
    "framework",
)
"""The parts of a step, in the order in which they are reported."""

MARK = "part: "
"""What the name of a part begins with in a profile."""


class Parts:
    """Splits what a meter counts among the parts of a work, without a remainder.

    A part that is entered inside another takes what it needs from it. What is in no part is ``framework``.

    Attributes:
        marking: whether the parts are marked in a profile; a mark takes some microseconds.
    """

    def __init__(self) -> None:
        self.marking = False
        self._meter: Callable[[], float] | None = None
        self._amounts: Counter[str] = Counter()
        self._inside: list[str] = []
        self._closed = False

    def begin(self, meter: Callable[[], float]) -> None:
        """Begin to measure, inside ``framework``.

        Args:
            meter: what has come together since any beginning.
        """
        self._meter, self._amounts, self._inside = meter, Counter(), [FRAMEWORK]
        self._last = meter()

    def end(self) -> dict[str, float]:
        """The amounts since the beginning, by part; what it took in between is 0 where a part did not come up."""
        self._note()
        self._meter = None
        return {part: self._amounts[part] for part in PARTS if part in self._amounts}

    @contextmanager
    def of(self, part: str, whole: bool = False) -> Iterator[None]:
        """The part that is worked on in the block.

        Args:
            part: one of :data:`PARTS`.
            whole: no other part is told apart inside: an attack has stems and trunks of its own.
        """
        if self._meter is None or self._closed:
            yield
            return
        self._note()
        self._inside.append(part)
        self._closed = whole
        mark = torch.profiler.record_function(MARK + part) if self.marking else None
        try:
            if mark is not None:
                mark.__enter__()
            yield
        finally:
            self._closed = False
            self._note()
            if mark is not None:
                mark.__exit__(None, None, None)
            if self._inside:
                self._inside.pop()

    def wrapped(self, part: str, function: Callable[..., Any], whole: bool = False) -> Callable[..., Any]:
        """A function that works on a part whenever it is called."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.of(part, whole):
                return function(*args, **kwargs)

        return call

    def _note(self) -> None:
        if self._meter is not None:
            now = self._meter()
            self._amounts[self._inside[-1]] += now - self._last
            self._last = now


def seconds(device: torch.device, wait: bool) -> Callable[[], float]:
    """A meter of time.

    Args:
        device: that works.
        wait: until a GPU has done what it was told, so that each part has the time of its own work. Without it a part
            has the time that the host needs to tell.
    """

    def now() -> float:
        if wait:
            synchronize(device)
        return time.perf_counter()

    return now


def shares(amounts: Mapping[str, float]) -> dict[str, float]:
    """Percent of all, by part.

    >>> shares({"views": 1.0, "framework": 3.0})
    {'views': 25.0, 'framework': 75.0}
    """
    whole = sum(amounts.values())
    return {part: 100 * amount / whole if whole else 0.0 for part, amount in amounts.items()}
