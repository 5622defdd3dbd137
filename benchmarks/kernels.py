"""How long a GPU is busy in a call, and with how many kernels, from PyTorch's profiler."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.turns import synchronize


class GpuWork(NamedTuple):
    """A call as the GPU sees it: the sum of its kernels' times in milliseconds, and their number."""

    busy_ms: float
    kernels: int


def gpu_work(call: Callable[[], object], device: torch.device, calls: int = 3) -> GpuWork | None:
    """Profile some calls, which have to be warm; None on a CPU, and where the profiler sees no kernel."""
    if device.type != "cuda":
        return None
    synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(calls):
            call()
        synchronize(device)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(file))
        return kernels_in(json.loads(file.read_text(encoding="utf-8")), calls)


def kernels_in(trace: dict[str, Any], calls: int) -> GpuWork | None:
    """The mean of some calls in a trace of Chrome's format: events of the category ``kernel``, times in microseconds.

    >>> trace = {"traceEvents": [{"cat": "kernel", "dur": 3000.0}, {"cat": "gpu_memcpy", "dur": 9.0}]}
    >>> kernels_in(trace, calls=1)
    GpuWork(busy_ms=3.0, kernels=1)
    """
    kernels = [event["dur"] for event in trace["traceEvents"] if event.get("cat") == "kernel"]
    return GpuWork(sum(kernels) / 1000 / calls, round(len(kernels) / calls)) if kernels else None
