"""One training step in three forms on a GPU: operator by operator, as one CUDA graph, and with a compiled trunk."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks.kernels import GpuWork, kernels_in, trace_of
from benchmarks.step.parts import Parts
from benchmarks.step.training import Setting, train
from benchmarks.turns import synchronize
from p2be_exp.training.module import TrainingModule

FORMS = ("eager", "captured", "compiled")
"""``trainer.compile=off``; ``on``; ``off``, with the trunk compiled in place by ``torch.compile``."""
ABSENT = "not on this device"
FIRST = 20
"""Steps whose losses are compared, before any that is timed."""
PROFILED = 3


class Form(NamedTuple):
    """What a form showed.

    Attributes:
        losses: of the first steps.
        first_seconds: of the first step, with what it takes to start.
        ms: a step, by rounds.
        work: of the GPU in a step; None where a profile shows none.
        peak_gib: memory that PyTorch held at most; None on a CPU.
    """

    losses: list[float]
    first_seconds: float
    ms: list[float]
    work: GpuWork | None
    peak_gib: float | None


def measure_form(setting: Setting, form: str, steps: int, rounds: int) -> Form:
    """Train in one form, from the same weights on the same images as in the others.

    Args:
        setting: what is trained.
        form: one of :data:`FORMS`.
        steps: of a round.
        rounds: that are timed.
    """
    device, watch = setting.device, _Watch(compiled=form == "compiled")
    ms: list[float] = []
    works: list[GpuWork | None] = []
    seconds: list[float] = []

    def script() -> Iterator[None]:
        begin = time.perf_counter()
        yield
        synchronize(device)
        seconds.append(time.perf_counter() - begin)
        for _ in range(FIRST - 1):
            yield
        for _ in range(rounds):
            synchronize(device)
            begin = time.perf_counter()
            for _ in range(steps):
                yield
            synchronize(device)
            ms.append(1000 * (time.perf_counter() - begin) / steps)
        if device.type == "cuda":
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiled:
                for _ in range(PROFILED):
                    yield
                synchronize(device)
            works.append(kernels_in(trace_of(profiled), PROFILED))

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    torch.manual_seed(0)  # of the random images
    word = "trainer.compile=on" if form == "captured" else "trainer.compile=off"
    train(setting, Parts(), script, FIRST + rounds * steps + PROFILED + 2, [word], [watch])
    peak = torch.cuda.max_memory_reserved(device) / 2**30 if device.type == "cuda" else None
    losses = [each.item() for each in watch.losses[:FIRST]]
    return Form(losses, seconds[0], ms, works[0] if works else None, peak)


def form_row(setting: Setting, name: str, form: Form | None, eager: Form | None) -> dict[str, Any]:
    """The row of a form, beside the eager one; with the word for it where it was not measured."""
    named = {key: getattr(setting, key) for key in ("encoding", "regime", "backbone", "precision")}
    row: dict[str, Any] = {"id": f"{setting}, {name}", **named, "form": name}
    if form is None:
        return {**row, "ms": ABSENT}
    ms = statistics.median(form.ms)
    row |= {"ms": round(ms, 2), "least_to_most": f"{min(form.ms):.2f} to {max(form.ms):.2f}"}
    row |= {"first_step_s": round(form.first_seconds, 1)}
    if form.work is not None:
        row |= {"gpu_busy_ms": round(form.work.busy_ms, 2), "kernels": form.work.kernels}
        row["busy_percent"] = round(100 * form.work.busy_ms / ms, 1)
    if form.peak_gib is not None:
        row["peak_gib"] = round(form.peak_gib, 2)
    if eager is not None:
        row["times_faster_than_eager"] = round(statistics.median(eager.ms) / ms, 2)
    return row


def loss_rows(setting: Setting, forms: Mapping[str, Form]) -> Iterator[dict[str, Any]]:
    """The losses of the first steps side by side, a row a step."""
    for step in range(FIRST):
        losses = {name: f"{form.losses[step]:.6f}" for name, form in forms.items()}
        yield {"id": f"{setting}, step {step + 1}", "setting": str(setting), "step": step + 1, **losses}


def forms_on(device: torch.device) -> Sequence[str]:
    """Those that a device has: all on a GPU. A CPU trains in one form, which the other tables have."""
    return FORMS if device.type == "cuda" else ()


class _Watch(pl.Callback):
    """Notes the losses, and compiles the trunk."""

    def __init__(self, compiled: bool) -> None:
        self.compiled = compiled
        self.losses: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.compiled:
            cast("torch.nn.Module", cast("TrainingModule", pl_module).model.trunk).compile(dynamic=False)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if len(self.losses) < FIRST:
            self.losses.append(cast("TrainingModule", pl_module).last_terms["loss"].clone())
