"""A training step by part and by encoding, and what else takes time, each beside a baseline that it takes turns with.

What matters most comes first: what there is no time for is noted.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from benchmarks import adversarial_step, augmix, evaluation, lspga, norm_relu, stem
from benchmarks.gpu.part import Task, attempt
from benchmarks.hardware import set_precision
from benchmarks.kernels import gpu_work
from benchmarks.memory import allocated, peak_since
from benchmarks.step import measure as by_part
from benchmarks.step.forms import Form, form_row, forms_on, loss_rows, measure_form
from benchmarks.step.training import Setting
from benchmarks.training_step import PLAIN, make_step
from benchmarks.turns import median_ratio, take_turns
from p2be_exp.system.trainer import cpu_computes_bf16

TOGETHER: tuple[tuple[str, ...], ...] = (("rgb",), ("p2be", PLAIN), ("onehot",), ("thermometer",))
"""Variants that take turns with each other, and with RGB."""


BY_PART = (("p2be", "augmix"), ("rgb", "augmix"), ("p2be", "standard"))
"""Encoding and regime of the trainings whose steps are told apart; bf16 where the device computes it."""

Kind = tuple[str, str, str]
"""Regime, precision and variant of a step."""


def run(task: Task) -> None:
    """Everything, as far as the time goes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    measured: dict[Kind, dict[str, Any]] = {}
    trained: dict[Setting, float] = {}
    precision = "bf16" if device.type == "cuda" or cpu_computes_bf16() else "32"
    for encoding, regime in BY_PART:
        setting = Setting(encoding, regime, task.size.backbone, precision, task.size.batch_size, device)
        attempt(task, f"a step by part, {setting}", partial(_parts, task, setting, trained))
        _forget(device)
    forms: dict[Setting, dict[str, Form]] = {}
    for encoding, regime in BY_PART:
        setting = Setting(encoding, regime, task.size.backbone, precision, task.size.batch_size, device)
        _forms(task, setting, ("eager", "captured"), forms.setdefault(setting, {}))
    for regime in ("standard", "augmix"):
        _steps(task, regime, "bf16", device, measured)
    others: dict[str, Callable[[Task, torch.device], None]] = {
        "forms of the stem": _stem,
        "AugMix against Pillow": _augmix,
        "LS-PGA against a pass": _lspga,
        "regimes with an inner attack": _regimes,
        "evaluation of stored cells": _cells,
        "batch norm and ReLU": _norms,
    }
    for what, measure in others.items():
        attempt(task, what, partial(measure, task, device))
        _forget(device)
    for regime in ("standard", "augmix"):
        _steps(task, regime, "32", device, measured)
    for setting, found in list(forms.items())[:1]:  # compiling takes minutes
        _forms(task, setting, ("compiled",), found)
    if device.type == "cuda":
        profile_parts(task, trained)
        profile_steps(task, device, measured)


def profile_parts(task: Task, trained: dict[Setting, float]) -> None:
    """GPU busy time and kernels of the steps that were timed by part; after all timings, as :func:`profile_steps`."""
    for setting, step_ms in trained.items():

        def profile(setting=setting, step_ms=step_ms) -> None:  # of this one
            for row in by_part.busy_rows(setting, by_part.busy(setting) or {}, step_ms):
                task.emit("GPU busy by part", **row)

        attempt(task, f"GPU busy time by part, {setting}", profile)
        _forget(setting.device)


def profile_steps(task: Task, device: torch.device, measured: dict[Kind, dict[str, Any]]) -> None:
    """GPU busy time and kernels of the steps that were timed, into their rows.

    After all timings: what a profiler once attached to slows down what comes after it.
    """
    for (regime, precision, variant), cells in measured.items():

        def profile(regime=regime, precision=precision, variant=variant, cells=cells) -> None:  # of this row
            set_precision(precision, device)
            step = make_step(variant, task.size.backbone, task.size.batch_size, regime, device, precision)
            step()
            step()
            if (work := gpu_work(step, device)) is not None:
                cells |= {"gpu_busy_ms": round(work.busy_ms, 2), "kernels": work.kernels}
                task.emit("A training step", **cells)

        attempt(task, f"GPU busy time, {regime}, {precision}, {variant}", profile)
        _forget(device)


def _parts(task: Task, setting: Setting, trained: dict[Setting, float]) -> None:
    size = task.size
    effort = by_part.Effort(size.round_steps, size.rounds, within=size.seconds)
    for row in by_part.rows(setting, by_part.measure(setting, effort)):
        if (row["form"], row["part"]) == (by_part.OURS, by_part.WHOLE):
            trained[setting] = row["ms"]
        task.emit("A training step by part", **row)


def _forms(task: Task, setting: Setting, names: Sequence[str], found: dict[str, Form]) -> None:
    """Forms of a whole step, into ``found``; on a CPU rows that say there are none."""
    for name in names:

        def measure(name=name) -> None:  # of this one
            if name in forms_on(setting.device):
                found[name] = measure_form(setting, name, task.size.round_steps, task.size.rounds)
            task.emit("A whole step", **form_row(setting, name, found.get(name), found.get("eager")))

        attempt(task, f"a whole step, {name}, {setting}", measure)
        _forget(setting.device)
    for row in loss_rows(setting, found) if found else ():
        task.emit("Losses of the first steps", **row)


def _steps(task: Task, regime: str, precision: str, device: torch.device, measured: dict[Kind, dict[str, Any]]) -> None:
    set_precision(precision, device)
    for variants in TOGETHER:
        what = f"a step of {' and '.join(variants)}, {regime}, {precision}"
        attempt(task, what, partial(_step_rows, task, variants, regime, precision, device, measured))
        _forget(device)


def _step_rows(
    task: Task,
    variants: Sequence[str],
    regime: str,
    precision: str,
    device: torch.device,
    measured: dict[Kind, dict[str, Any]],
) -> None:
    size = task.size
    steps, peaks = {}, {}
    for variant in dict.fromkeys(["rgb", *variants]):
        before = allocated(device)
        step = make_step(variant, size.backbone, size.batch_size, regime, device, precision)
        step()
        step()  # the fastest convolutions are chosen
        steps[variant], peaks[variant] = step, peak_since(before, step, device)
    seconds = take_turns(steps, size.rounds, device, warm_up=1, within=size.seconds * len(steps))
    for variant in variants:
        plain = median_ratio(seconds[variant], seconds[PLAIN]) if PLAIN in steps and variant != PLAIN else None
        cells = {
            "id": f"{regime}, {precision}, {variant}",
            "regime": regime,
            "precision": precision,
            "encoding": variant,
            "ms": _ms(seconds[variant]),
            "over_rgb": round(median_ratio(seconds[variant], seconds["rgb"]), 3),
            "over_plain_form": None if plain is None else round(plain, 3),
            "gpu_busy_ms": None,
            "kernels": None,
            "peak_gib": None if peaks[variant] is None else round(peaks[variant], 2),
            "rounds": len(seconds[variant]),
        }
        measured[regime, precision, variant] = cells
        task.emit("A training step", **cells)


def _stem(task: Task, device: torch.device) -> None:
    size = task.size
    for precision in ("bf16", "32") if device.type == "cuda" else ("32",):
        set_precision(precision, device)
        ms = stem.measure("wrn", 64, size.batch_size, size.rounds, device, precision, within=size.seconds)
        for form in [each for each in ms if each != "plain"]:
            what = f"the stem alone, {form}, P2BE, {precision}, {size.batch_size} images"
            _ratio(task, what, ms[form], "plain form", ms["plain"], ms[form] / ms["plain"])


def _augmix(task: Task, device: torch.device) -> None:
    times = augmix.measure(device, task.size.rounds, within=task.size.seconds)
    loop, batched = (statistics.median(times[name]) for name in ("loop", "batched"))
    what = f"AugMix, {augmix.VIEWS} views of {augmix.BATCH} images"
    _ratio(task, what, batched, "Pillow, one core", loop, batched / loop)


def _lspga(task: Task, device: torch.device) -> None:
    size = task.size
    precision = "bf16" if device.type == "cuda" else "32"
    set_precision(precision, device)
    steps = 7 if task.settings.size == "full" else 2
    settings = lspga.Settings(size.backbone, steps, device, precision)
    batch_sizes = {"lspga": [size.batch_size], "lspga, plain form": [size.plain_batch_size]}
    for row in lspga.measure(batch_sizes, min(size.rounds, 5), settings):
        what = f"a step of {row.variant}, P2BE, {row.batch_size} images"
        _ratio(task, what, row.ms, "forward and backward", row.ms / row.over_images, row.over_images, row.peak_gib)


def _regimes(task: Task, device: torch.device) -> None:
    set_precision("bf16" if device.type == "cuda" else "32", device)
    rows = adversarial_step.measure(task.size.backbone, task.size.batch_size, min(task.size.rounds, 5), device)
    for row in rows:
        if row.regime != "standard":
            _ratio(task, f"a step of {row.regime}, P2BE", row.ms, "standard", row.ms / row.over_standard,
                   row.over_standard)  # fmt: skip


def _cells(task: Task, device: torch.device) -> None:
    size = task.size
    with evaluation.stored_cells(
        "rgb", size.backbone, size.stored_images, size.stored_cells, size.eval_batch_size, device
    ) as stored:
        ratios = []
        for _, ratio in stored.ratios():
            ratios.append(ratio)
            if task.left() <= 0:
                break
        whole = 1000 * stored.evaluate(stored.cells, "whole") / len(stored.cells)
    ratio = statistics.median(ratios)
    _ratio(task, f"a stored cell of {size.stored_images:,} images, RGB, float32", whole, "bare passes", None, ratio)


def _norms(task: Task, device: torch.device) -> None:
    size, (channels, side) = task.size, norm_relu.LAYERS[0]
    precision = "bf16" if device.type == "cuda" else "32"
    set_precision(precision, device)
    for work in norm_relu.WORKS:
        shape = (work, channels, side, 3 * size.batch_size)
        ms = norm_relu.measure(*shape, size.rounds, device, precision, within=size.seconds)
        for form, cell, ratio in norm_relu.rows(ms):
            what = f"{work}, {channels} x {side} x {side}, {precision}"
            task.emit("Batch norm and ReLU", id=f"{what}, {form}", what=what, form=form, ms=cell, over_pytorch=ratio)


def _ratio(
    task: Task, what: str, ms: float, baseline: str, baseline_ms: float | None, ratio: float, peak: float | None = None
) -> None:
    task.emit(
        "Other ratios",
        id=what,
        what=what,
        ms=round(ms, 2),
        baseline=baseline,
        baseline_ms=None if baseline_ms is None else round(baseline_ms, 2),
        ratio=round(ratio, 3),
        peak_gib=None if peak is None else round(peak, 2),
    )


def _ms(seconds: Sequence[float]) -> float:
    return round(1000 * statistics.median(seconds), 2)


def _forget(device: torch.device) -> None:
    """Give back what a measurement held on a GPU, also one that failed for want of memory."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
