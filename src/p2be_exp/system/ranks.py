"""Which process of a distributed run this is, before torch knows.

Several processes exist where the ``trainer`` group asks for them, and nowhere else: variables that somebody left in the
environment (``RANK``, ``LOCAL_RANK``, Slurm's) do not make a rank of a job for one device. Independent jobs of one
``srun`` are a normal use. Those of one torchrun are not: where its own variable says that it started another number of
processes than the group asks for, that is refused.
"""

from __future__ import annotations

import json
import os
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from p2be_exp.errors import BadInput
from p2be_exp.system.torchrun import RUN_ID, number_from, processes_of_torchrun, torchrun_command

if TYPE_CHECKING:
    from p2be_exp.config.schema import TrainerConfig

Launcher = Literal["torchrun", "slurm", "lightning"]
"""What starts the processes of a job: torchrun, srun, or the first of them through Lightning."""

_WORKER = "P2BE_WORKER"
_STARTED = "P2BE_STARTED"
"""Environment variable with the number of the process that is the first of a job and starts the others."""


def processes(trainer: TrainerConfig) -> int:
    """Number of processes that a ``trainer`` group asks for, over all machines."""
    return trainer.devices * trainer.num_nodes


def launcher(trainer: TrainerConfig) -> Launcher | None:
    """What starts the processes of a job with this ``trainer`` group; None for a job of one process."""
    if processes(trainer) == 1:
        return None
    if RUN_ID in os.environ:
        return "torchrun"
    return "slurm" if _slurm_tasks() > 1 else "lightning"


def started_from_outside(trainer: TrainerConfig) -> bool:
    """Whether torchrun or srun started several processes of this command, which then have to share a folder."""
    return launcher(trainer) in ("torchrun", "slurm")


def check_launcher(trainer: TrainerConfig) -> None:
    """Check that torchrun or srun started as many processes as the ``trainer`` group asks for, and that they can meet.

    Raises:
        BadInput: they did not, or there are to be several machines and neither was used: the same would be done several
            times, or some processes would wait for others that never come.
    """
    wanted, by = processes(trainer), _started_from_outside(trainer)
    if by is None and trainer.num_nodes > 1:
        raise BadInput(
            f"trainer.num_nodes={trainer.num_nodes}: nothing starts the processes of the other machines; type on "
            f"each, HOST being the first one: {torchrun_command(trainer)}"
        )
    if by is None:
        return
    started = processes_of_torchrun() if by == "torchrun" else _slurm_tasks()
    if started != wanted:
        raise BadInput(
            f"trainer.devices={trainer.devices} trainer.num_nodes={trainer.num_nodes}: "
            f"{wanted} process{'es' if wanted > 1 else ''}, but {by} started {started}{_fitting(by, started, trainer)}"
        )
    if wanted > 1:
        _check_port()


def _started_from_outside(trainer: TrainerConfig) -> Literal["torchrun", "srun"] | None:
    """What started this process as one of this job's; the tasks of an srun may be jobs of one process each."""
    if RUN_ID in os.environ:
        return "torchrun"
    return "srun" if processes(trainer) > 1 and _slurm_tasks() > 1 else None


def _fitting(by: str, started: int, trainer: TrainerConfig) -> str:
    """What to set for the processes that there are; empty where the machines have different numbers of them."""
    machines = number_from({"torchrun": "GROUP_WORLD_SIZE", "srun": "SLURM_STEP_NUM_NODES"}[by], "1")
    if machines < 1 or started < 1 or started % machines:
        return ""
    group = "trainer=ddp " if started > 1 and trainer.strategy != "ddp" else ""
    cpu = "trainer.accelerator=cpu " if group and trainer.accelerator == "cpu" else ""
    return f"; for {started}: {group}{cpu}trainer.devices={started // machines} trainer.num_nodes={machines}"


def _check_port() -> None:
    """Lightning takes the port at which the processes of a launcher meet from the environment, where it is there."""
    text = os.environ.get("MASTER_PORT", "29500")
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise BadInput(f"MASTER_PORT={text}: not a port, which is a number from 1 to 65535")


def rank(trainer: TrainerConfig) -> int:
    """Rank of this process over all machines; 0 in a job of one process, whatever the environment says.

    Args:
        trainer: the group of the job.
    """
    started = launcher(trainer)
    if started == "torchrun":
        return number_from("RANK")
    if started == "slurm":
        return number_from("SLURM_PROCID")
    if started == "lightning" and has_place():
        return int(os.environ["LOCAL_RANK"])
    return 0


def processes_here(trainer: TrainerConfig) -> int:
    """Largest number of processes of a job on one machine, as far as what started them tells; each takes a device."""
    started = launcher(trainer)
    if started == "torchrun":
        return number_from("LOCAL_WORLD_SIZE", str(trainer.devices))
    if started == "slurm":  # 4(x2),1 on three machines
        found = re.findall(r"(?:^|,)(\d+)", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
        return max(map(int, found), default=trainer.devices)
    return trainer.devices


def has_place() -> bool:
    """Whether this process has its place beside others; a ``LOCAL_RANK`` alone may be anybody's.

    What the first process of a job starts for other ends sees its variables, and has no place.
    """
    first = os.environ.get(_STARTED)
    local_rank = os.environ.get("LOCAL_RANK")
    return first is not None and local_rank is not None and (local_rank != "0" or first == str(os.getpid()))


def starter(trainer: TrainerConfig) -> int | None:
    """Number of the process that started this one as a further rank of its job; None where another launcher did."""
    is_child = launcher(trainer) == "lightning" and rank(trainer) > 0
    return int(os.environ[_STARTED]) if is_child else None


def start_own_processes() -> None:
    """Note that the processes that are started from now on are this job's; what others left behind is forgotten."""
    if not has_place():
        for name in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"):
            os.environ.pop(name, None)
        os.environ[_STARTED] = str(os.getpid())


def tell_workers(trainer: TrainerConfig, job: dict[str, Any]) -> None:
    """Leave a job to the processes that Lightning starts from this one; they see the environment alone."""
    if launcher(trainer) == "lightning":
        os.environ[_WORKER] = json.dumps(job)


def job_from_main() -> dict[str, Any] | None:
    """The job that the main process left to this worker, None in any other process."""
    job = json.loads(os.environ[_WORKER]) if _WORKER in os.environ else None
    if job is None:
        return None
    trainer: Any = SimpleNamespace(**job["config"]["trainer"])  # this room does not know the schema
    return job if rank(trainer) > 0 else None


def _slurm_tasks() -> int:
    """Tasks of the job step that this process is in; 1 in a batch script, which no srun started."""
    return number_from("SLURM_STEP_NUM_TASKS", "1") if "SLURM_PROCID" in os.environ else 1
