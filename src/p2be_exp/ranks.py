"""Which process of a distributed run this is, before torch knows."""

from __future__ import annotations

import json
import os
from typing import Any

_WORKER = "P2BE_WORKER"


def rank() -> int:
    """Rank of this process over all machines; 0 for a process alone."""
    for variable in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if variable in os.environ and (variable != "SLURM_PROCID" or int(os.environ.get("SLURM_NTASKS", "1")) > 1):
            return int(os.environ[variable])
    return 0


def started_by_launcher() -> bool:
    """Whether torchrun or Slurm started several processes of this command, which then have to share a folder."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def tell_workers(job: dict[str, Any]) -> None:
    """Leave a job to the processes that Lightning starts from this one; they see the environment alone."""
    os.environ[_WORKER] = json.dumps(job)


def job_from_main() -> dict[str, Any] | None:
    """The job that the main process left to this worker, None in any other process."""
    return json.loads(os.environ[_WORKER]) if _WORKER in os.environ and rank() > 0 else None
