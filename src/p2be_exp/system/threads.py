"""Number of compute threads: at most the CPUs available to this process, shared with the other ranks."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2be_exp.config.schema import TrainerConfig

CONTROL_GROUPS = Path("/sys/fs/cgroup")
PROCESS_GROUPS = Path("/proc/self/cgroup")


def usable_cpus() -> int:
    """Number of CPUs available to this process, at least 1: its affinity, limited by a container's quota.

    A quota of 1.5 CPUs counts as 1, since parallel threads wait for the slowest one.
    """
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "SLURM_STEP_NUM_TASKS" in os.environ:  # a task of an srun, which may not be bound to its CPUs
        cpus = min(cpus, int(os.environ.get("SLURM_CPUS_PER_TASK", cpus)))
    quota = cpu_quota()
    return cpus if quota is None else max(1, min(cpus, math.floor(quota)))


def cpu_quota(groups: Path | None = None, process: Path | None = None) -> float | None:
    """The smallest CPU quota of this process's control groups (Linux, version 2 or 1), in CPUs; None without one.

    Args:
        groups: mount point of the control groups; default :data:`CONTROL_GROUPS`.
        process: file with the control groups of this process; default :data:`PROCESS_GROUPS`.
    """
    groups, process = groups or CONTROL_GROUPS, process or PROCESS_GROUPS
    try:
        lines = process.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            quotas += _quotas(groups, path, _read_v2)
        elif "cpu" in controllers.split(","):
            for mount in (groups / "cpu", groups / controllers):
                quotas += _quotas(mount, path, _read_v1)
    return min(quotas, default=None)


def set_threads(trainer: TrainerConfig) -> int:
    """Limit PyTorch's threads to :func:`usable_cpus`, divided among the processes of this machine.

    A number set by the user (``OMP_NUM_THREADS``) is kept; PyTorch's own choice is never increased.

    Args:
        trainer: the group of the job.

    Returns:
        The number of threads.
    """
    import torch

    from p2be_exp.system.ranks import launcher

    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    alone = trainer.devices == 1 or (launcher(trainer) == "slurm" and "SLURM_CPUS_PER_TASK" in os.environ)
    threads = min(torch.get_num_threads(), max(1, usable_cpus() // (1 if alone else trainer.devices)))
    torch.set_num_threads(threads)
    if launcher(trainer) == "lightning":  # for the processes that are started from this one
        os.environ["OMP_NUM_THREADS"] = str(threads)
    return threads


def _quotas(mount: Path, path: str, read: Any) -> Iterator[float]:
    """Quotas of a group and all its parents; in a container the path may be the host's and not exist."""
    group = mount / path.strip("/")
    for each in (group, *group.parents):
        if (quota := read(each)) is not None:
            yield quota
        if each == mount:
            return


def _read_v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _read_v1(group: Path) -> float | None:
    try:
        quota, period = (int((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    except (OSError, ValueError):
        return None
    return None if quota <= 0 else quota / period
