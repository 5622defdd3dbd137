"""The jobs of a sweep as text, with an estimate of their time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from p2be_exp.runs.run import Run
from p2be_exp.sweeps.estimate import Estimator
from p2be_exp.sweeps.plan import Job, labelled
from p2be_exp.system.trainer import on_gpu


def jobs_table(stages: Sequence[Sequence[Job]], title: str = "", folder: Path | None = None) -> str:
    """One line per job: its folder, the overrides that distinguish it, its estimated time; the total at the end.

    Args:
        stages: the jobs of each stage, each labelled by what distinguishes it from the others of its stage.
        title: the first lines.
        folder: of the sweep; finished jobs in it take no time.
    """
    jobs = [job for stage in stages for job, _ in labelled(stage)]
    labels = [label for stage in stages for _, label in labelled(stage)]
    estimate = Estimator()
    seconds: list[float | None] = []
    lines = [title, ""] if title else []
    width = max(map(len, labels))
    for job, label in zip(jobs, labels, strict=True):
        done = folder is not None and Run(folder / job.folder).status().get("state") == "finished"
        seconds.append(0.0 if done else estimate(job.config))
        text = "finished" if done else "unknown" if seconds[-1] is None else duration(seconds[-1])
        lines.append(f"  {job.folder:>5}  {label:<{width}}  {text:>10}")
    known = [each for each in seconds if each is not None]
    unknown = "" if len(known) == len(seconds) else f", and {len(seconds) - len(known)} of unknown length"
    gpu = on_gpu(jobs[0].config.trainer)
    machine = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    lines += [
        "",
        f"{len(jobs)} {'jobs' if len(jobs) > 1 else 'job'}, about {duration(sum(known))} one after another{unknown}",
        f"estimated from a few steps on this machine ({machine}); reading and corrupting images is not counted",
    ]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """A duration in convenient units.

    >>> duration(3), duration(150), duration(3 * 3600), duration(9 * 86400)
    ('3 s', '2.5 min', '3.0 h', '9.0 days')
    """
    for unit, size, limit in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 2 * 86400)):
        if seconds < limit:
            return f"{seconds / size:.0f} s" if unit == "s" else f"{seconds / size:.1f} {unit}"
    return f"{seconds / 86400:.1f} days"
