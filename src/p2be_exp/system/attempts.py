"""Which attempt of a launcher's this process is in: Slurm requeues a job, torchrun restarts its processes.

The launcher has ended the earlier attempt, on whatever machine that was, and starts the same command again.
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
"""What is read of a ``status.json`` here, by key."""


def this_attempt() -> dict[str, Any]:
    """What a status says of the attempt that wrote it; {} where neither Slurm nor torchrun started this process.

    ``slurm_job`` and ``slurm_restarts``; of torchrun its id for the launch, which may be that of other launches, too
    (``none``), the process that started this one, and how often it has restarted them.
    """
    found: dict[str, Any] = {}
    if "SLURM_JOB_ID" in os.environ:
        found |= {"slurm_job": os.environ["SLURM_JOB_ID"], "slurm_restarts": _count("SLURM_RESTART_COUNT")}
    if RUN_ID in os.environ:
        restarts = _count("TORCHELASTIC_RESTART_COUNT")
        found |= {"torchrun_id": os.environ[RUN_ID], "torchrun_agent": os.getppid(), "torchrun_restarts": restarts}
    return found


def is_complete(status: Mapping[str, Any]) -> bool:
    """Whether a status that names a job of Slurm's, or a launch of torchrun's, says which attempt it was."""
    return all(
        set(keys) <= set(status)
        for keys in (("slurm_job", "slurm_restarts"), ("torchrun_id", "torchrun_agent", "torchrun_restarts"))
        if keys[0] in status
    )


def follows(status: Mapping[str, Any]) -> bool:
    """Whether this is a later attempt of the launch that wrote a status, so that whatever wrote it has ended."""
    return _follows_in_slurm(this_attempt(), status) or _follows_in_torchrun(this_attempt(), status)


def _follows_in_slurm(now: Mapping[str, Any], then: Mapping[str, Any]) -> bool:
    same = "slurm_job" in now and now["slurm_job"] == then.get("slurm_job")
    return same and now["slurm_restarts"] > then["slurm_restarts"]


def _follows_in_torchrun(now: Mapping[str, Any], then: Mapping[str, Any]) -> bool:
    """By its count; where another machine's processes failed, the same torchrun starts these again without counting."""
    if "torchrun_id" not in now or now["torchrun_id"] != then.get("torchrun_id"):
        return False
    again = now["torchrun_agent"] == then["torchrun_agent"] and then.get("host") == socket.gethostname()
    return now["torchrun_restarts"] > then["torchrun_restarts"] or (again and then.get("pid") != os.getpid())


def _count(name: str) -> int:
    text = os.environ.get(name, "0")
    return int(text) if text.isdecimal() else 0
