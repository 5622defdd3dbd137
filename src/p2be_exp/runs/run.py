"""The run folder: what a training leaves behind, how to find it, read it and go on with it."""

from __future__ import annotations

import os
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from omegaconf import OmegaConf

from p2be_exp.config.stored import read_stored
from p2be_exp.errors import BadInput, NotOwned
from p2be_exp.runs.older import fill_in
from p2be_exp.runs.provenance import now, provenance
from p2be_exp.system.atomic import create_json, is_leftover, overwrite_json, remove_leftovers, replacing, write_json
from p2be_exp.system.attempts import STATUS, is_complete, this_attempt
from p2be_exp.system.command_line import typed
from p2be_exp.system.forms import Form, misfit, read_json
from p2be_exp.system.ownership import LOCK, holds
from p2be_exp.system.peers import FOLDER

if TYPE_CHECKING:
    pass

FORMAT_VERSION = 1
"""Version of a run folder's layout and of the keys in its ``config.yaml``.

Whoever adds a key that older runs lack fills it in, in :meth:`Run.config`, or raises this number.
"""

_OUTPUT = (".log", ".out", ".err")
"""Endings of files that a command's output is written to (``> RUN/train.log``); no run has files that end so."""

_OF_HYDRA = (".hydra", "hydra_app.log")
"""What Hydra writes into a job's folder first, where it is asked to (``hydra.output_subdir=.hydra``)."""

State = Literal["running", "finished", "failed", "interrupted"]


class Run:
    """A run folder.

    Attributes:
        path: the folder.
    """

    FOLDERS = ("checkpoints", "per_image", "figures")
    """What a training writes into, in its folder."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._status_lock = threading.RLock()

    # -- where things are ------------------------------------------------------------------------------------------

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def run_file(self) -> Path:
        """What made the run: command, seed, versions, parameters."""
        return self.path / "run.json"

    @property
    def status_file(self) -> Path:
        """Whether it is running, and since when it has given no sign of life."""
        return self.path / "status.json"

    @property
    def metrics_file(self) -> Path:
        """One row an epoch."""
        return self.path / "metrics.csv"

    def checkpoint(self, which: str = "last") -> Path:
        """The checkpoint file ``last`` or ``best``."""
        return self.path / "checkpoints" / f"{which}.ckpt"

    # -- reading ---------------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """The run's resolved configuration as plain dictionaries."""
        config = read_stored(self.config_file)
        if isinstance(config, dict) and isinstance(config.get("preset"), dict):
            fill_in(config)
        return config

    def info(self) -> dict[str, Any]:
        """The content of ``run.json``.

        Raises:
            OSError: it cannot be read.
            ValueError: it is damaged; the message names the key.
        """
        info = read_json(self.run_file)
        if found := misfit(_INFO, info):
            raise ValueError(f"run.json: {found}")
        return info

    def status(self) -> dict[str, Any]:
        """The content of ``status.json``, empty where there is none that can be read as what this version writes."""
        try:
            status = read_json(self.status_file)
            return status if _is_status(status) else {}
        except (OSError, TypeError, ValueError):
            return {}

    def remove_leftovers(self) -> None:
        """Remove what a killed training left behind of files that it was writing."""
        remove_leftovers(self.path, *(self.path / part for part in self.FOLDERS))

    def check_new(self, key: str) -> None:
        """Check that the folder, if it is there, has at most what a start leaves behind that failed or was killed.

        Args:
            key: the option under which the user gave it, for the message.

        Raises:
            BadInput: it holds a run.
            NotOwned: it holds files that no run has written.
        """
        if self.run_file.exists() and self.config_file.exists():
            raise BadInput(_holds_a_run(key, self.path))
        if not self.path.is_dir():
            return
        strange = sorted(each.name for each in self.path.iterdir() if not self._is_left_behind(each))
        if strange:
            more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
            raise NotOwned(
                f"{key}={self.path}: holds {strange[0]}{more}, which no run has written; choose another folder"
            )

    def _is_left_behind(self, file: Path) -> bool:
        """Whether a file is what a start leaves behind that was killed, or that failed, before there was a run.

        So is what a user has a command's output written to: it is there before the command starts.
        """
        if file.is_symlink():  # what it leads to is somebody's, whatever it is called
            return False
        if file.suffix in _OUTPUT and file.is_file():
            return True
        if file.name in (LOCK, FOLDER, *_OF_HYDRA) or is_leftover(file.name) or file == self.run_file:
            return True
        if file == self.status_file:
            return self.status().get("state") in get_args(State)
        try:
            return file == self.config_file and {"preset", "encoding", "task_name"} <= set(read_stored(file))
        except (OSError, TypeError, ValueError):
            return False

    # -- writing ---------------------------------------------------------------------------------------------------

    def create(self, config: dict[str, Any], **facts: Any) -> None:
        """Write ``config.yaml`` and ``run.json``.

        Raises:
            BadInput: the folder holds a run already, or cannot be written.
        """
        about = {"format_version": FORMAT_VERSION, **provenance(), "seed": config["seed"], **facts}
        self.check_new("hydra.run.dir")
        try:
            if not self.config_file.exists() and holds(self.path):
                self.run_file.unlink(missing_ok=True)  # of a start that was killed between these two
            with replacing(self.config_file) as part:  # in place once run.json is, and only then
                part.write_text(OmegaConf.to_yaml(OmegaConf.create(config)), encoding="utf-8")
                create_json(self.run_file, about)  # claims the folder, also where the file system has no locks
        except FileExistsError as error:
            raise BadInput(_holds_a_run("hydra.run.dir", self.path)) from error
        except OSError as error:
            raise BadInput(f"hydra.run.dir={self.path}: cannot be written ({error.strerror})") from error

    def add_facts(self, **facts: Any) -> None:
        """Add entries to ``run.json``."""
        write_json(self.run_file, {**self.info(), **facts})

    def set_status(self, state: State, **details: Any) -> None:
        """Write ``status.json`` with process and time; a killed run leaves ``running`` and an old time behind."""
        here = {"pid": os.getpid(), "host": socket.gethostname(), **this_attempt()}
        status = {"state": state, **here, "alive": now(), **details}
        with self._status_lock:
            overwrite_json(self.status_file, status)

    def renew_status(self) -> None:
        """Renew the time of the last sign of life; safe beside :meth:`set_status` in another thread."""
        with self._status_lock:
            if status := self.status():  # what cannot be read is not made into half a status
                overwrite_json(self.status_file, {**status, "alive": now()})


def _holds_a_run(key: str, path: Path) -> str:
    return f"{key}={path}: holds a run already; {typed(resume=path)} goes on with it"


_NONE = type(None)
_INFO: Form = {
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
    "classes": (list, _NONE),
    "classes.*": str,
    "dataset": (dict, _NONE),
    "locations": dict,
    "files": (dict, _NONE),
    "files.*": str,
    "trained_on": (dict, _NONE),
    "trained_on.precision": str,
    "trained_on.processes": (int, str),  # "1, then 2" after a resume on others
}
"""What is read of ``run.json``, by key."""

_STATUS: Form = {
    "state": str,
    "pid": int,
    "alive": str,
    "exit_code": int,
    "error": str,
    **STATUS,
}
"""What is read of ``status.json``, by key."""


def _is_status(status: Any) -> bool:
    """Whether the content of a ``status.json`` is what this version writes.

    Raises:
        TypeError, ValueError: a time that is none, or has no time zone.
    """
    if misfit(_STATUS, status) is not None:
        return False
    if "alive" in status:
        _ = datetime.fromisoformat(status["alive"]) - datetime.now(UTC)
    if not is_complete(status):
        return False
    return 0 < status.get("pid", 1) < 2**31
