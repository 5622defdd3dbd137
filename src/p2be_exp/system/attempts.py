"""The launch attempt of this process: Slurm requeues a job, torchrun restarts its processes.

The launcher ends the earlier attempt, on whatever machine it ran, and starts the same command again.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from p2be_exp.system.forms import Form
from p2be_exp.system.torchrun import RUN_ID

STATUS: Form = {
    "host": str,
    "slurm_job": str,
    "slurm_restarts": int,
    "torchrun_id": str,
    "torchrun_agent": int,
    "torchrun_restarts": int,
}
"""The keys of a ``status.json`` that are read here, with their types."""


def this_attempt() -> dict[str, Any]:
    """The keys of a status that identify this attempt; {} if neither Slurm nor torchrun started this process.

    For Slurm ``slurm_job`` and ``slurm_restarts``; for torchrun the id of the launch, which other launches may share
    (``none``), the process that started this one, and its number of restarts.
    """
    found: dict[str, Any] = {}
    if "SLURM_JOB_ID" in os.environ:
        found |= {"slurm_job": os.environ["SLURM_JOB_ID"], "slurm_restarts": _count("SLURM_RESTART_COUNT")}
    if RUN_ID in os.environ:
        restarts = _count("TORCHELASTIC_RESTART_COUNT")
        found |= {"torchrun_id": os.environ[RUN_ID], "torchrun_agent": os.getppid(), "torchrun_restarts": restarts}
    return found


def is_complete(status: Mapping[str, Any]) -> bool:
    """Whether a status that names a Slurm job or a torchrun launch also identifies the attempt."""
    return all(
        set(keys) <= set(status)
        for keys in (("slurm_job", "slurm_restarts"), ("torchrun_id", "torchrun_agent", "torchrun_restarts"))
        if keys[0] in status
    )


def follows(status: Mapping[str, Any]) -> bool:
    """Whether this is a later attempt of the launch that wrote a status, so that the writer has ended."""
    return _follows_in_slurm(this_attempt(), status) or _follows_in_torchrun(this_attempt(), status)


def _follows_in_slurm(now: Mapping[str, Any], then: Mapping[str, Any]) -> bool:
    same = "slurm_job" in now and now["slurm_job"] == then.get("slurm_job")
    return same and now["slurm_restarts"] > then["slurm_restarts"]


def _follows_in_torchrun(now: Mapping[str, Any], then: Mapping[str, Any]) -> bool:
    """By the restart count; after a failure on another machine torchrun restarts these processes without counting."""
    if "torchrun_id" not in now or now["torchrun_id"] != then.get("torchrun_id"):
        return False
    again = now["torchrun_agent"] == then["torchrun_agent"] and then.get("host") == socket.gethostname()
    return now["torchrun_restarts"] > then["torchrun_restarts"] or (again and then.get("pid") != os.getpid())


def _count(name: str) -> int:
    text = os.environ.get(name, "0")
    return int(text) if text.isdecimal() else 0
