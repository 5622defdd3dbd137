"""Provenance of a run: command, time, versions, platform."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from p2be_exp.config.plugin_digests import digests
from p2be_exp.system.installation import git_commit
from p2be_exp.system.program import program

_PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "torchmetrics",
    "numpy",
    "p2be-exp",
)


def provenance() -> dict[str, Any]:
    """Command, time, git commit, versions, plug-ins and platform of this process."""
    return {
        "command": [program(), *sys.argv[1:]],
        "created": now(),
        "git_commit": git_commit(),
        "versions": versions(),
        "plugins": digests(),
        "platform": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def now() -> str:
    """The current time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
