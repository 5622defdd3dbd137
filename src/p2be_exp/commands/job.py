"""One training as started by a command: from a composed configuration, in a folder that no other process writes to."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from p2be_exp.commands.early_checks import check_early
from p2be_exp.config import check_config, to_plain
from p2be_exp.config.compose import naming_experiment, plain_errors
from p2be_exp.config.parts import check_given
from p2be_exp.config.plugin_warnings import warn_as
from p2be_exp.config.plugins import load_plugins
from p2be_exp.config.schema import TrainConfig, TrainerConfig
from p2be_exp.config.stored import interpolations
from p2be_exp.config.trial import as_trial
from p2be_exp.config.typed import typed as typed_config
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run
from p2be_exp.system.attempts import follows
from p2be_exp.system.ownership import holds
from p2be_exp.system.paths import check_path
from p2be_exp.system.ranks import rank

RESUMABLE = (
    *("trainer", "logger", "watch_every", "checkpoint_every"),
    *("data_dir", "dataset.dir", "dataset.workers", "dataset.timeout", "strict_plugins", "figures"),
)
"""Keys and groups that do not change what is trained; ``resume=`` accepts only these."""

_BUT = ("trainer.fast_dev_run",)
"""Keys of these groups that do."""

CLOCKS_DIFFER = 30
"""Seconds by which another machine's clock may be ahead; a time further in the future comes from a wrong clock."""


def is_resumable(key: str) -> bool:
    """Whether a key, or its group, does not change what is trained."""
    return (key in RESUMABLE or key.partition(".")[0] in RESUMABLE) and key not in _BUT


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """The keys that change what is trained and differ between two configurations, with both values."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in [*one, *(key for key in other if key not in one)]:
        if is_resumable(f"{prefix}{key}"):
            continue
        first, second = one.get(key), other.get(key)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            found |= differences(first, second, f"{prefix}{key}.")
        elif first != second:
            found[f"{prefix}{key}"] = (first, second)
    return found


def job_config(composed: DictConfig) -> TrainConfig:
    """The resolved and checked configuration, without Hydra's node.

    Raises:
        BadInput: a value that is not allowed.
    """
    node = OmegaConf.select(composed, "hydra.overrides.task")
    given: Any = [] if node is None else OmegaConf.to_container(node, resolve=False)  # as it was typed
    with naming_experiment(given):
        with plain_errors(given):
            bare = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
        config = to_plain(bare)
        load_plugins(config["plugins"])  # a process started by a launcher has composed nothing itself
        built = typed_config(config)
        check_given(built, given)
        check_config("train", built)
    if (text := next(interpolations(config), None)) is not None:
        raise BadInput(f"{text}: an interpolation would remain in config.yaml; a stored configuration must be plain")
    return as_trial(built)


def train_job(config: TrainConfig, run: Run, resume: bool = False, sweep: str | None = None) -> float:
    """Train and evaluate (see :func:`p2be_exp.training.job.train`); the clean test error."""
    warn_as(rank(config.trainer))  # of runs that it takes a table or gradients from
    source = check_early(config, fresh=not (resume and run.checkpoint("last").exists()))
    from p2be_exp.errors import Interrupted
    from p2be_exp.training.job import train

    try:
        return train(config, run, resume=resume, sweep=sweep, source=source)["clean_error"]
    except Interrupted:
        if rank(config.trainer) > 0:
            return float("nan")  # the ranks agreed to stop; a worker that failed would take the others down
        raise


def check_not_running(run: Run, key: str, trainer: TrainerConfig) -> None:
    """Check that no process is training in a folder, by the last sign of life in its status.

    If this process holds the folder's lock, no other process of this machine is. The signs of life decide about other
    machines, whose locks may not be visible here, and on file systems without locks.

    Args:
        run: the folder.
        key: the option that names it, for messages.
        trainer: the group of the job that is about to start; only rank 0 checks.

    Raises:
        BadInput: a process is, or was less than two minutes ago on another machine.
    """
    status = run.status()
    if status.get("state") != "running" or not {"alive", "pid"} <= set(status) or rank(trainer) > 0:
        return
    silent = (datetime.now(UTC) - datetime.fromisoformat(status["alive"])).total_seconds()
    here = status.get("host") == socket.gethostname()
    ended = here and (holds(run.path) or status["pid"] == os.getpid() or not _alive(status["pid"]))
    gone = ended or follows(status)
    if -CLOCKS_DIFFER < silent < 120 and not gone:
        where = "" if here else f" on {status.get('host')}, or stopped less than two minutes ago"
        raise BadInput(f"{key}={run.path}: still running as process {status['pid']}{where}")


def patience(run: Run) -> float:
    """Seconds to wait for the lock of a folder.

    If a launcher has ended its owner on another node, a file server may keep the lock until it notices.
    """
    return 120.0 if follows(run.status()) else 0.0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def relative(folder: Path) -> Path:
    """A folder relative to the current one if it is inside it, else unchanged."""
    try:
        return folder.relative_to(Path.cwd())
    except ValueError:
        return folder


def check_writable(folder: Path, key: str) -> None:
    """Check that a folder exists and can be written, or can be created.

    Args:
        folder: the folder.
        key: the option that names it, for messages.

    Raises:
        BadInput: it cannot.
    """
    check_path(key, folder)
    existing = existing_part(folder)
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise BadInput(f"{key}={folder}: cannot be written ({existing})")


def existing_part(folder: Path) -> Path:
    """A folder, or its nearest parent that exists."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
