"""Which process of a distributed run this is, before torch knows.

Several processes exist where the ``trainer`` group asks for them, and nowhere else: variables that a launcher left in
the environment (``RANK``, ``LOCAL_RANK``, Slurm's) do not make a rank of a job for one device. Independent jobs of one
``srun`` are a normal use.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Literal

from p2be_exp.errors import BadInput

Launcher = Literal["torchrun", "slurm", "lightning"]
"""What starts the processes of a job: torchrun, srun, or the first of them through Lightning."""

_WORKER = "P2BE_WORKER"
_STARTED = "P2BE_STARTED"


def processes(trainer: Mapping[str, Any]) -> int:
    """Number of processes that a ``trainer`` group asks for, over all machines."""
    return trainer["devices"] * trainer["num_nodes"]


def launcher(trainer: Mapping[str, Any]) -> Launcher | None:
    """What starts the processes of a job with this ``trainer`` group; None for a job of one process."""
    if processes(trainer) == 1:
        return None
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return "torchrun"
    return "slurm" if _slurm_tasks() > 1 else "lightning"


def started_from_outside(trainer: Mapping[str, Any]) -> bool:
    """Whether torchrun or srun started several processes of this command, which then have to share a folder."""
    return launcher(trainer) in ("torchrun", "slurm")


def check_launcher(trainer: Mapping[str, Any]) -> None:
    """Check that torchrun or srun started as many processes as the ``trainer`` group asks for.

    Raises:
        BadInput: they did not, or there are to be several machines and neither was used; some processes would wait for
            others that never come.
    """
    if trainer["num_nodes"] > 1 and launcher(trainer) == "lightning":
        raise BadInput(f"trainer.num_nodes={trainer['num_nodes']}: several machines need torchrun or srun")
    started = {"torchrun": int(os.environ.get("WORLD_SIZE", "1")), "slurm": _slurm_tasks()}
    if (by := launcher(trainer)) in started and started[by] != processes(trainer):
        raise BadInput(
            f"trainer.devices={trainer['devices']} trainer.num_nodes={trainer['num_nodes']}: "
            f"{processes(trainer)} processes, but {'srun' if by == 'slurm' else by} started {started[by]}"
        )


def rank(trainer: Mapping[str, Any]) -> int:
    """Rank of this process over all machines; 0 in a job of one process, whatever the environment says.

    Args:
        trainer: the group of the job.
    """
    started = launcher(trainer)
    if started == "torchrun":
        return int(os.environ["RANK"])
    if started == "slurm":
        return int(os.environ["SLURM_PROCID"])
    if started == "lightning" and has_place():
        return int(os.environ["LOCAL_RANK"])
    return 0


def has_place() -> bool:
    """Whether Lightning gave this process its place beside others; a ``LOCAL_RANK`` alone may be anybody's."""
    return _STARTED in os.environ and "LOCAL_RANK" in os.environ


def start_own_processes() -> None:
    """Note that the processes that are started from now on are this job's; what others left behind is forgotten."""
    if _STARTED not in os.environ:
        for name in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK"):
            os.environ.pop(name, None)
        os.environ[_STARTED] = "1"


def tell_workers(job: dict[str, Any]) -> None:
    """Leave a job to the processes that Lightning starts from this one; they see the environment alone."""
    if launcher(job["config"]["trainer"]) == "lightning":
        os.environ[_WORKER] = json.dumps(job)


def job_from_main() -> dict[str, Any] | None:
    """The job that the main process left to this worker, None in any other process."""
    job = json.loads(os.environ[_WORKER]) if _WORKER in os.environ else None
    return job if job is not None and rank(job["config"]["trainer"]) > 0 else None


def _slurm_tasks() -> int:
    """Tasks of the job step that this process is in; 1 in a batch script, which no srun started."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) if "SLURM_PROCID" in os.environ else 1
