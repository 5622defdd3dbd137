"""The structure of ``run.json`` and ``status.json``: the types of the keys that are read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from p2be_exp.system.attempts import STATUS, is_complete
from p2be_exp.system.forms import Form, misfit

_NONE = type(None)


INFO: Form = {
    "format_version": int,
    "command": (list, _NONE),
    "command.*": str,
    "created": str,
    "git_commit": (str, _NONE),
    "versions": (dict, _NONE),
    "versions.*": str,
    "plugins": dict,
    "plugins.*": str,
    "platform": str,
    "sweep": (dict, _NONE),
    "sweep.name": (str, _NONE),
    "sweep.scale": (str, _NONE),
    "wandb_id": (str, _NONE),
    "wandb_group": (str, _NONE),
    "wandb_project": (str, _NONE),
    "classes": (list, _NONE),
    "classes.*": str,
    "dataset": (dict, _NONE),
    "locations": dict,
    "files": (dict, _NONE),
    "files.*": str,
    "trained_on": (dict, _NONE),
    "trained_on.precision": str,
    "trained_on.processes": (int, str),  # "1, then 2" after resuming with another number
}
"""The keys of ``run.json`` that are read, with their types."""


_STATUS: Form = {
    "state": str,
    "pid": int,
    "alive": str,
    "exit_code": int,
    "error": str,
    **STATUS,
}
"""The keys of ``status.json`` that are read, with their types."""


def is_status(status: Any) -> bool:
    """Whether the content of a ``status.json`` has the structure that this version writes.

    Raises:
        TypeError, ValueError: a time is invalid or has no time zone.
    """
    if misfit(_STATUS, status) is not None:
        return False
    if "alive" in status:
        _ = datetime.fromisoformat(status["alive"]) - datetime.now(UTC)
    if not is_complete(status):
        return False
    return 0 < status.get("pid", 1) < 2**31
