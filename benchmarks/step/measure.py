"""The rows of a setting: its step by part, and the published method's in turn with it."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from benchmarks.kernels import GpuWork, kernels_by_part, trace_of
from benchmarks.launches import Launches
from benchmarks.step.parts import FRAMEWORK, MARK, PARTS, Parts, seconds, shares
from benchmarks.step.published import VIEWS_OF, PublishedTraining
from benchmarks.step.published_net import ENCODINGS
from benchmarks.step.published_views import WORKERS
from benchmarks.step.training import IMAGE_SIZE, Setting, train
from benchmarks.turns import FEWEST_ROUNDS, synchronize

OURS, PUBLISHED = "ours", "plain form"
WHOLE = "whole step"
WARM_UP = 5
"""Steps before the first that counts: the fastest convolutions are chosen, and threads are tried."""
CLASSES = 100
PROFILED = 3
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""``cpu`` is the processor's time, which does not grow when others use the machine: of this process, and for the plain
form of its loader's processes, too, whose time is added to the views. What is waited for is not in it."""


class Effort(NamedTuple):
    """How much is measured.

    Attributes:
        steps: of a round; ours and the plain form take turns by rounds.
        rounds: at most.
        within: seconds after which no further round begins, if there are three.
        workers: processes that make the plain form's views.
        clock: one of :data:`CLOCKS`.
    """

    steps: int
    rounds: int
    within: float = float("inf")
    workers: int = WORKERS
    clock: str = "wall"


class Round(NamedTuple):
    """Milliseconds a step: whole, and by part, which on a GPU are waited for one by one."""

    whole: float
    parts: dict[str, float]


class Measured(NamedTuple):
    """Rounds and launches by form; the plain form's are missing where there is none."""

    rounds: dict[str, list[Round]]
    launches: dict[str, dict[str, float]]


def has_plain_form(setting: Setting) -> bool:
    """Whether the published method has the regime and the encoding."""
    return setting.regime in VIEWS_OF and setting.encoding in ENCODINGS


def measure(setting: Setting, effort: Effort) -> Measured:
    """Time rounds of both forms in turn, then count the launches of a step of each."""
    device = setting.device
    parts = Parts()
    rounds: dict[str, list[Round]] = defaultdict(list)
    launches: dict[str, dict[str, float]] = {}
    plain = _published(setting, effort) if has_plain_form(setting) else None

    def meter(wait: bool = False) -> Callable[[], float]:
        return seconds(device, wait, CLOCKS[effort.clock])

    def ours(wait: bool) -> Iterator[None]:
        synchronize(device)
        parts.begin(meter(wait))
        for _ in range(effort.steps):
            yield
        synchronize(device)
        timed[wait] = parts.end()

    timed: dict[bool, dict[str, float]] = {}

    def script() -> Iterator[None]:
        for _ in range(WARM_UP):
            yield
        if plain is not None:
            plain.round(1, meter())
        begin = time.perf_counter()
        for number in range(effort.rounds):
            if number >= FEWEST_ROUNDS and time.perf_counter() - begin > effort.within:
                break
            for wait in _waits(device):
                yield from ours(wait)
            rounds[OURS].append(_round(timed, effort.steps))
            if plain is not None:
                workers = effort.clock == "cpu"
                theirs = {wait: plain.round(effort.steps, meter(wait), workers) for wait in _waits(device)}
                rounds[PUBLISHED].append(_round(theirs, effort.steps))
        with Launches() as counted:
            parts.begin(lambda: counted.total)
            yield
            launches[OURS] = parts.end()
        if plain is not None:
            with Launches() as counted:
                launches[PUBLISHED] = plain.round(1, lambda: counted.total)

    train(setting, parts, script, WARM_UP + effort.rounds * effort.steps * len(_waits(device)) + 2)
    return Measured(dict(rounds), launches)


def rows(setting: Setting, measured: Measured) -> Iterator[dict[str, Any]]:
    """The rows of both forms: the whole step, which says how many times faster ours is, and its parts."""
    for form, rounds in measured.rounds.items():
        launches = measured.launches[form]
        cells = {"part": WHOLE, **_spread([each.whole for each in rounds]), "percent": None}
        cells["launches"] = round(sum(launches.values()))
        if form == OURS and PUBLISHED in measured.rounds:
            pairs = zip(measured.rounds[PUBLISHED], rounds, strict=True)
            ratios = _spread([theirs.whole / mine.whole for theirs, mine in pairs], digits=2)
            cells |= {"plain_over_ours": ratios["ms"], "ratio_quartiles": ratios["quartiles"]}
        yield _row(setting, form, cells)
        for part in PARTS:
            if part not in launches and not any(part in each.parts for each in rounds):
                continue
            percent = statistics.median(shares(each.parts).get(part, 0.0) for each in rounds)
            cells = {"part": part, **_spread([each.parts.get(part, 0.0) for each in rounds])}
            cells |= {"percent": round(percent, 1), "launches": round(launches.get(part, 0))}
            yield _row(setting, form, cells)


def busy(setting: Setting) -> dict[str, GpuWork] | None:
    """GPU busy time and kernels of a step of ours, by part and whole; None on a CPU, and where a profile shows none.

    After all timings: what a profiler once attached to slows down what comes after it.
    """
    if setting.device.type != "cuda":
        return None
    parts = Parts()
    found: dict[str, GpuWork] = {}

    def script() -> Iterator[None]:
        for _ in range(WARM_UP):
            yield
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        with torch.profiler.profile(activities=activities) as profiled:
            parts.marking = True
            parts.begin(seconds(setting.device, wait=True))
            for _ in range(PROFILED):
                yield
            parts.end()
            synchronize(setting.device)
        found.update(kernels_by_part(trace_of(profiled), MARK, FRAMEWORK, PROFILED))

    train(setting, parts, script, WARM_UP + PROFILED + 2)
    if not found:
        return None
    whole = GpuWork(sum(each.busy_ms for each in found.values()), sum(each.kernels for each in found.values()))
    return {WHOLE: whole, **found}


def busy_rows(setting: Setting, works: Mapping[str, GpuWork], step_ms: float) -> Iterator[dict[str, Any]]:
    """A row a part.

    Args:
        setting: what was profiled.
        works: see :func:`busy`.
        step_ms: of the whole step without a profiler.
    """
    for part, work in works.items():
        cells = {"part": part, "gpu_busy_ms": round(work.busy_ms, 2), "kernels": work.kernels}
        cells["busy_percent_of_the_step"] = round(100 * work.busy_ms / step_ms, 1)
        yield _row(setting, OURS, cells)


def _published(setting: Setting, effort: Effort) -> PublishedTraining:
    number = (effort.steps + 1) * setting.batch_size
    images = torch.randint(0, 256, (number, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (number,))
    names = setting.encoding, setting.backbone, setting.regime
    return PublishedTraining(*names, images, labels, setting.batch_size, CLASSES, setting.device, effort.workers)


def _waits(device: torch.device) -> tuple[bool, ...]:
    """On a GPU once as it is, once with a wait after each part; a CPU has done what it was told."""
    return (False, True) if device.type == "cuda" else (False,)


def _round(timed: Mapping[bool, dict[str, float]], steps: int) -> Round:
    by_part = timed.get(True, timed[False])
    whole = sum(timed[False].values())
    return Round(1000 * whole / steps, {part: 1000 * each / steps for part, each in by_part.items()})


def _spread(values: Sequence[float], digits: int = 2) -> dict[str, Any]:
    several = values if len(values) > 1 else [*values, *values]
    low, middle, high = statistics.quantiles(several, n=4, method="inclusive")
    return {"ms": round(middle, digits), "quartiles": f"{low:.{digits}f} to {high:.{digits}f}"}


def _row(setting: Setting, form: str, cells: dict[str, Any]) -> dict[str, Any]:
    named = {key: getattr(setting, key) for key in ("encoding", "regime", "backbone", "precision", "batch_size")}
    return {"id": f"{setting}, {form}, {cells['part']}", **named, "form": form, **cells}
