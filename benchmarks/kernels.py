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
    return kernels_in(trace_of(profiled), calls)


def trace_of(profiled: profile) -> dict[str, Any]:
    """What a profiler has seen, in Chrome's format."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(file))
        return json.loads(file.read_text(encoding="utf-8"))


def kernels_in(trace: dict[str, Any], calls: int) -> GpuWork | None:
    """The mean of some calls in a trace of Chrome's format: events of the category ``kernel``, times in microseconds.

    >>> trace = {"traceEvents": [{"cat": "kernel", "dur": 3000.0}, {"cat": "gpu_memcpy", "dur": 9.0}]}
    >>> kernels_in(trace, calls=1)
    GpuWork(busy_ms=3.0, kernels=1)
    """
    kernels = [event["dur"] for event in trace["traceEvents"] if event.get("cat") == "kernel"]
    return GpuWork(sum(kernels) / 1000 / calls, round(len(kernels) / calls)) if kernels else None


def kernels_by_part(trace: dict[str, Any], mark: str, rest: str, calls: int) -> dict[str, GpuWork]:
    """The mean of some calls by part, each of which is a ``record_function`` that the host leaves when it is done.

    Args:
        trace: in Chrome's format.
        mark: what the names of the parts begin with; a kernel is of the part that began last before it.
        rest: name for the kernels in no part.
        calls: in the trace.

    >>> parts = [{"cat": "user_annotation", "name": "part: loss", "ts": 10.0, "dur": 5.0}]
    >>> kernels = [{"cat": "kernel", "ts": ts, "dur": 2000.0} for ts in (9.0, 11.0, 12.0)]
    >>> kernels_by_part({"traceEvents": parts + kernels}, "part: ", "others", calls=1)
    {'others': GpuWork(busy_ms=2.0, kernels=1), 'loss': GpuWork(busy_ms=4.0, kernels=2)}
    """
    events = trace["traceEvents"]
    parts = [each for each in events if each.get("cat") == "user_annotation" and each["name"].startswith(mark)]
    found: dict[str, list[dict[str, Any]]] = {}
    for kernel in (each for each in events if each.get("cat") == "kernel"):
        around = [each for each in parts if each["ts"] <= kernel["ts"] <= each["ts"] + each["dur"]]
        innermost = max(around, key=lambda each: each["ts"], default=None)
        name = rest if innermost is None else innermost["name"].removeprefix(mark)
        found.setdefault(name, []).append(kernel)
    return {
        name: GpuWork(sum(each["dur"] for each in kernels) / 1000 / calls, round(len(kernels) / calls))
        for name, kernels in found.items()
    }
