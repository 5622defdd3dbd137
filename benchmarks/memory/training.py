"""The memory of a training: of PyTorch's tensors by part of a step, and on a CPU of the whole process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.memory.by_part import PeakParts, events_of, gpu_meter, peaks_by_part
from benchmarks.memory.peak import resident_peak
from benchmarks.step.training import Setting, train

WARM_UP = 3
"""Steps before the one that counts: states of optimizers are made, and the fastest convolutions are chosen."""


class TrainingPeaks(NamedTuple):
    """Bytes of tensors at most by part, those that stay between two steps, and GiB of the process (None on a GPU)."""

    parts: dict[str, float]
    kept: int
    process_gib: float | None


def training_peaks(setting: Setting, threads: int) -> TrainingPeaks:
    """Measure a training; on a CPU in a process of its own, which calls this once in its life."""
    torch.set_num_threads(threads)
    parts, trainers, found = PeakParts(), [], []
    gpu = setting.device.type == "cuda"

    def script() -> Iterator[None]:
        for _ in range(WARM_UP):
            yield
        kept = kept_bytes(trainers[0])
        if gpu:
            parts.begin(gpu_meter(setting.device))
            yield
            parts.end()
            found.append(TrainingPeaks(dict(parts.peaks), kept, None))
            return
        process = resident_peak()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            parts.marking = True
            parts.begin(lambda: 0.0)
            yield
            parts.end()
        found.append(TrainingPeaks(peaks_by_part(*events_of(profiled), kept), kept, process))

    train(setting, parts, script, WARM_UP + 2, started=trainers.append)
    return found[0]


def kept_bytes(trainer: pl.Trainer) -> int:
    """Bytes of weights, batch norms and states of optimizers, which stay from step to step; gradients do not."""
    module = trainer.lightning_module
    tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
    for optimizer in trainer.optimizers:
        for state in optimizer.state.values():
            tensors += [each for each in state.values() if isinstance(each, Tensor)]
    return sum({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}.values())
