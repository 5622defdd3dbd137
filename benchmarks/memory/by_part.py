"""The largest number of bytes that PyTorch holds during each part of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch

from benchmarks.step.parts import FRAMEWORK, MARK, Parts


class Mark(NamedTuple):
    """A part that was worked on from ``start`` to ``end``."""

    part: str
    start: int
    end: int


class PeakParts(Parts):
    """Keeps the largest amount of each part in the place of their sum: the meter says the most since it was last asked.

    Attributes:
        peaks: by part.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peaks: dict[str, float] = {}

    def _note(self) -> None:
        if self._meter is not None:
            part = self._inside[-1]
            self.peaks[part] = max(self.peaks.get(part, 0), self._meter())


def gpu_meter(device: torch.device) -> Callable[[], float]:
    """Bytes that the allocator of a GPU held at most since the last call."""

    def most() -> float:
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak

    return most


def peaks_by_part(marks: Iterable[Mark], changes: Iterable[tuple[int, int]], base: int) -> dict[str, int]:
    """Bytes held at most, by part.

    Args:
        marks: the parts, which may be inside one another; a change is of the innermost.
        changes: times and bytes that were allocated (or, below 0, given back), ascending.
        base: bytes held at the beginning.

    >>> peaks_by_part([Mark("loss", 0, 9), Mark("stem", 2, 4)], [(1, 10), (3, 5), (4, -5), (6, 2), (12, -2)], 100)
    {'loss': 112, 'stem': 115, 'framework': 112}
    """
    marks, held, found = list(marks), base, {}
    for time, change in changes:
        around = [each for each in marks if each.start <= time <= each.end]
        part = max(around, key=lambda each: each.start).part if around else FRAMEWORK
        found[part] = max(found.get(part, 0), held, held + change)
        held += change
    return found


def events_of(profiled: torch.profiler.profile) -> tuple[list[Mark], list[tuple[int, int]]]:
    """The marked parts, and the host's allocations in PyTorch, of a profile with ``profile_memory``."""
    events: list[Any] = profiled.profiler.kineto_results.events()  # type: ignore[union-attr]
    marks = [
        Mark(each.name().removeprefix(MARK), each.start_ns(), each.end_ns())
        for each in events
        if each.name().startswith(MARK)
    ]
    changes = [(each.start_ns(), each.nbytes()) for each in events if each.name() == "[memory]"]
    return marks, sorted(changes, key=lambda each: each[0])
