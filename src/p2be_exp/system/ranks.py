"""The rank of this process in a distributed run, known before torch is imported.

There are several processes only if the ``trainer`` group requests them: leftover environment variables (``RANK``,
``LOCAL_RANK``, Slurm's) do not turn a job for one device into a rank. Independent jobs in one ``srun`` are normal; in
one torchrun they are not: if its own variable shows that it started a different number of processes than the group
requests, that is refused.
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
"""What starts the processes of a job: torchrun, srun, or the first process through Lightning."""

_WORKER = "P2BE_WORKER"
_STARTED = "P2BE_STARTED"
"""Environment variable with the id of a job's first process, which starts the others."""


def processes(trainer: TrainerConfig) -> int:
    """Number of processes that a ``trainer`` group requests, over all machines."""
    return trainer.devices * trainer.num_nodes


def launcher(trainer: TrainerConfig) -> Launcher | None:
    """What starts the processes of a job with this ``trainer`` group; None for a job of one process."""
    if processes(trainer) == 1:
        return None
    if RUN_ID in os.environ:
        return "torchrun"
    return "slurm" if _slurm_tasks() > 1 else "lightning"


def started_from_outside(trainer: TrainerConfig) -> bool:
    """Whether torchrun or srun started several processes of this command, which then must share a folder."""
    return launcher(trainer) in ("torchrun", "slurm")


def check_launcher(trainer: TrainerConfig) -> None:
    """Check that torchrun or srun started as many processes as the ``trainer`` group requests, and that they can meet.

    Raises:
        BadInput: they did not, or several machines were requested without a launcher: the job would run several times,
            or some processes would wait for others that never start.
    """
    expected, by = processes(trainer), _started_from_outside(trainer)
    if by is None and trainer.num_nodes > 1:
        raise BadInput(
            f"trainer.num_nodes={trainer.num_nodes}: nothing starts the processes of the other machines; run on "
            f"each, with HOST the first one: {torchrun_command(trainer)}"
        )
    if by is None:
        return
    started = processes_of_torchrun() if by == "torchrun" else _slurm_tasks()
    if started != expected:
        raise BadInput(
            f"trainer.devices={trainer.devices} trainer.num_nodes={trainer.num_nodes}: "
            f"{expected} process{'es' if expected > 1 else ''}, but {by} started {started}"
            f"{_fitting(by, started, trainer)}"
        )
    if expected > 1:
        _check_port()


def _started_from_outside(trainer: TrainerConfig) -> Literal["torchrun", "srun"] | None:
    """The launcher of this job's processes; the tasks of an srun may also be jobs of one process each."""
    if RUN_ID in os.environ:
        return "torchrun"
    return "srun" if processes(trainer) > 1 and _slurm_tasks() > 1 else None


def _fitting(by: str, started: int, trainer: TrainerConfig) -> str:
    """The keys to set for the existing processes; empty if their number differs between machines."""
    machines = number_from({"torchrun": "GROUP_WORLD_SIZE", "srun": "SLURM_STEP_NUM_NODES"}[by], "1")
    if machines < 1 or started < 1 or started % machines:
        return ""
    group = "trainer=ddp " if started > 1 and trainer.strategy != "ddp" else ""
    cpu = "trainer.accelerator=cpu " if group and trainer.accelerator == "cpu" else ""
    return f"; for {started}: {group}{cpu}trainer.devices={started // machines} trainer.num_nodes={machines}"


def _check_port() -> None:
    """Lightning reads the port of the rendezvous from the environment, if it is set."""
    text = os.environ.get("MASTER_PORT", "29500")
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise BadInput(f"MASTER_PORT={text}: must be a port number between 1 and 65535")


def rank(trainer: TrainerConfig) -> int:
    """Rank of this process over all machines; 0 in a job of one process, regardless of the environment.

    Args:
        trainer: the group of the job.
    """
    started = launcher(trainer)
    if started == "torchrun":
        return number_from("RANK")
    if started == "slurm":
        return number_from("SLURM_PROCID")
    if started == "lightning" and is_lightning_rank():
        return int(os.environ["LOCAL_RANK"])
    return 0


def processes_here(trainer: TrainerConfig) -> int:
    """Largest number of processes of a job on one machine, as far as the launcher reports it; each uses a device."""
    started = launcher(trainer)
    if started == "torchrun":
        return number_from("LOCAL_WORLD_SIZE", str(trainer.devices))
    if started == "slurm":  # 4(x2),1 on three machines
        found = re.findall(r"(?:^|,)(\d+)", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
        return max(map(int, found), default=trainer.devices)
    return trainer.devices


def is_lightning_rank() -> bool:
    """Whether this process is a rank of a job that Lightning started; ``LOCAL_RANK`` alone may be a leftover.

    A process that the first process of a job starts for other purposes inherits its variables, but is not a rank.
    """
    first = os.environ.get(_STARTED)
    local_rank = os.environ.get("LOCAL_RANK")
    return first is not None and local_rank is not None and (local_rank != "0" or first == str(os.getpid()))


def starter(trainer: TrainerConfig) -> int | None:
    """Id of the process that started this one as a further rank of its job; None with another launcher."""
    is_child = launcher(trainer) == "lightning" and rank(trainer) > 0
    return int(os.environ[_STARTED]) if is_child else None


def start_own_processes() -> None:
    """Mark processes started from now on as ranks of this job, and remove leftover variables."""
    if not is_lightning_rank():
        for name in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"):
            os.environ.pop(name, None)
        os.environ[_STARTED] = str(os.getpid())


def tell_workers(trainer: TrainerConfig, job: dict[str, Any]) -> None:
    """Pass a job to the processes that Lightning starts from this one, through the environment."""
    if launcher(trainer) == "lightning":
        os.environ[_WORKER] = json.dumps(job)


def job_from_main() -> dict[str, Any] | None:
    """The job that the main process passed to this worker; None in any other process."""
    job = json.loads(os.environ[_WORKER]) if _WORKER in os.environ else None
    if job is None:
        return None
    trainer: Any = SimpleNamespace(**job["config"]["trainer"])  # this package does not import the schema
    return job if rank(trainer) > 0 else None


def _slurm_tasks() -> int:
    """Number of tasks of this process's job step; 1 in a batch script, which no srun started."""
    return number_from("SLURM_STEP_NUM_TASKS", "1") if "SLURM_PROCID" in os.environ else 1
