"""The jobs of a sweep as text, with an estimate of their time, and of their memory beside what the machine has."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from p2be_exp.config.parts import with_parts
from p2be_exp.config.schema import ModelConfig, TrainConfig
from p2be_exp.runs.run import Run
from p2be_exp.sweeps.estimate import Estimator
from p2be_exp.sweeps.h100 import h100_seconds
from p2be_exp.sweeps.plan import Job, labelled
from p2be_exp.system.memory import free_bytes
from p2be_exp.system.threads import usable_cpus
from p2be_exp.system.trainer import on_gpu


def jobs_table(stages: Sequence[Sequence[Job]], title: str = "", folder: Path | None = None) -> str:
    """One line per job: its folder, the overrides that distinguish it, its estimated time; the total at the end.

    Then a line for each kind of training with its memory, and how many of the largest fit beside one another.

    Args:
        stages: the jobs of each stage, each labelled by what distinguishes it from the others of its stage.
        title: the first lines.
        folder: of the sweep; finished jobs in it take no time.
    """
    jobs = _with_parts([job for stage in stages for job, _ in labelled(stage)], folder)
    labels = [label for stage in stages for _, label in labelled(stage)]
    estimate = Estimator()
    seconds: list[float | None] = []
    lines = [title, ""] if title else []
    width, names = max(map(len, labels)), max(5, *(len(job.folder) for job in jobs))
    for job, label in zip(jobs, labels, strict=True):
        done = folder is not None and Run(folder / job.folder).status().get("state") == "finished"
        seconds.append(0.0 if done else estimate(job.config))
        text = "finished" if done else "unknown" if seconds[-1] is None else duration(seconds[-1])
        lines.append(f"  {job.folder:>{names}}  {label:<{width}}  {text:>12}")
    known = [each for each in seconds if each is not None]
    unknown = "" if len(known) == len(seconds) else f", and {len(seconds) - len(known)} of unknown length"
    gpu = on_gpu(jobs[0].config.trainer)
    device = torch.device("cuda" if gpu else "cpu")
    threads = torch.get_num_threads()
    machine = torch.cuda.get_device_name() if gpu else f"CPU, {threads} thread{'s' * (threads > 1)}"
    left = [job for job, each in zip(jobs, seconds, strict=True) if each != 0.0]
    many = f"{len(jobs)} jobs, one after another" if len(jobs) > 1 else "1 job"
    elsewhere = "" if gpu else _on_an_h100([job.config for job in left], sum(known))
    lines += [
        "",
        f"{many}: about {duration(sum(known))} on this machine ({machine}){unknown}{elsewhere}",
        f"estimated from one step of each kind of network here{_derived(estimate.derived)}; reading and corrupting "
        "images is not counted",
    ]
    return "\n".join([*lines, *memory_lines(left, estimate, free_bytes(device), gpu)])


def _derived(kinds: int) -> str:
    if not kinds:
        return ""
    return f" ({kinds} {'kinds' if kinds > 1 else 'kind'}: from the number of operations alone)"


_WORTH_A_GPU = 12 * 3600.0
"""Seconds from which on the time on a GPU is told."""


def _on_an_h100(configs: Sequence[TrainConfig], seconds: float) -> str:
    """What the trainings would take on a GPU, where that is worth knowing, and it is known."""
    if seconds < _WORTH_A_GPU or (there := h100_seconds(configs)) is None:
        return ""
    return f";\ntheir training on one H100: about {duration(there)}, if they reach the rate that WRN-40-2 reached there"


def _with_parts(jobs: Sequence[Job], folder: Path | None) -> list[Job]:
    """The jobs, those that are mixtures with their parts filled in: from other jobs of the sweep, or from their runs.

    Raises:
        BadInput: a part is neither.
    """
    planned = {} if folder is None else {(folder / job.folder).absolute(): job.config for job in jobs}

    def part(model: ModelConfig, role: str) -> TrainConfig:
        named = getattr(model, role)
        return planned.get(Path(named).absolute()) or Run.open(named, f"model.{role}").config()

    found = []
    for job in jobs:
        parts = {role: part(job.config.model, role) for role in job.config.model.roles}
        found.append(dataclasses.replace(job, config=with_parts(job.config, parts)) if parts else job)
    return found


def memory_lines(jobs: Sequence[Job], estimate: Estimator, free: int | None, gpu: bool) -> list[str]:
    """The memory of each kind of training, and what fits beside one another; empty where it is not known.

    Args:
        jobs: those that are to be trained.
        estimate: of their memory.
        free: bytes that the device has left; None: unknown.
        gpu: whether that is a GPU, whose cores a training does not use up.
    """
    kinds = {_kind(job.config): estimate.memory(job.config) for job in jobs}
    needed = {kind: each for kind, each in kinds.items() if each is not None}
    if not needed:
        return []
    width = max(map(len, needed))
    lines = ["", f"memory of a training at its peak, on the {'GPU' if gpu else 'host'}:"]
    lines += [f"  {kind:<{width}}  {each / 2**30:>6.2f} GiB" for kind, each in needed.items()]
    if free is None:
        return lines
    fit = int(free // max(needed.values()))
    side = fit if gpu else min(fit, usable_cpus())
    told = {0: "the largest does not fit", 1: "one training at a time"}.get(side)
    told = told or f"{side} side by side (hydra/launcher=joblib hydra.launcher.n_jobs={side})"
    lines.append(f"{free / 2**30:.1f} GiB are free here: {told}{'' if side == fit else ', one a core'}")
    asked = max((_side_by_side(job) for job in jobs), default=1)
    if asked > max(1, fit):
        lines.append(f"hydra.launcher.n_jobs={asked} is more than fits: choose at most {max(1, fit)}")
    return lines


def _kind(config: TrainConfig) -> str:
    """What a training's memory depends on, as overrides."""
    bits = getattr(config.encoding, "M", None)
    encoding = f"encoding={config.encoding.name}" + (f" M={bits}" if bits else "")
    return f"{encoding} backbone={config.backbone.name} regime={config.regime.name} batch_size={config.batch_size}"


def _side_by_side(job: Job) -> int:
    """How many jobs the overrides ask for at a time."""
    given = (re.fullmatch(r"hydra\.launcher\.n_jobs=(\d+)", each) for each in job.overrides)
    return max((int(each[1]) for each in given if each), default=1)


def duration(seconds: float) -> str:
    """A duration in convenient units.

    >>> duration(3), duration(150), duration(3 * 3600), duration(9 * 86400), duration(7.7 * 365.25 * 86400)
    ('3 s', '2.5 minutes', '3.0 hours', '9.0 days', '7.7 years')
    """
    for unit, size, limit in (
        ("s", 1, 90),
        ("minutes", 60, 5400),
        ("hours", 3600, 2 * _DAY),
        ("days", _DAY, 2 * _YEAR),
    ):
        if seconds < limit:
            return f"{seconds / size:.0f} s" if unit == "s" else f"{seconds / size:.1f} {unit}"
    return f"{seconds / _YEAR:.1f} years"


_DAY, _YEAR = 86400.0, 365.25 * 86400.0
