"""Timing works that take turns, so that what slows the machine down slows all of them."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

FEWEST_ROUNDS = 3


def take_turns(
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device,
    warm_up: int = 2,
    within: float = float("inf"),
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds that each work takes in each round.

    Args:
        works: called one after another, round by round.
        rounds: that count.
        device: waited for at the end of each call.
        warm_up: rounds before, that do not count.
        within: seconds after which no further round begins, if there are three that count.
        clock: of the seconds; ``time.process_time`` is the processor's, which do not grow when others use the machine.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    begin = time.perf_counter()
    for round_ in range(warm_up + rounds):
        if round_ >= warm_up + FEWEST_ROUNDS and time.perf_counter() - begin > within:
            break
        for name, work in works.items():
            start = clock()
            work()
            synchronize(device)
            if round_ >= warm_up:
                seconds[name].append(clock() - start)
    return seconds


def median_ratio(mine: Sequence[float], base: Sequence[float]) -> float:
    """Median over the rounds of each round's ratio."""
    return statistics.median(a / b for a, b in zip(mine, base, strict=True))


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was told; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
