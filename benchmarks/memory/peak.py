"""Peak memory: of a GPU in this process, of a CPU in a process of its own, which takes seconds to start."""

import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.turns import synchronize


def allocated(device: torch.device) -> int:
    """Bytes that PyTorch holds on a GPU now; 0 on a CPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def peak_since(before: int, work: Callable[[], object], device: torch.device) -> float | None:
    """GiB that a work needs at most beside the bytes that were allocated ``before``; None on a CPU.

    Call the work once or twice before: the search for the fastest convolutions takes memory of its own.
    """
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    work()
    synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**30


def resident_peak() -> float:
    """GiB that this process had resident at most (Linux); not ``ru_maxrss``, which a process inherits."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 2**20


def in_fresh_process(function: Callable[..., Any], *arguments: object) -> Any:
    """What a function gives in a process of its own, with one call in its life."""
    with multiprocessing.get_context("spawn").Pool(1) as fresh:
        return fresh.apply(function, arguments)
