"""The run folder: finding, reading and writing the files of a training."""

from __future__ import annotations

import copy
import os
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from omegaconf import OmegaConf

from p2be_exp.config.checks import check_config
from p2be_exp.config.plugin_files import is_module_name
from p2be_exp.config.plugin_trust import load_plugins_of
from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.stored import read_stored
from p2be_exp.config.typed import plain
from p2be_exp.config.typed import typed as typed_config
from p2be_exp.errors import BadInput, NotOwned
from p2be_exp.runs.forms import INFO, is_status
from p2be_exp.runs.places import folder_of
from p2be_exp.runs.provenance import now, provenance
from p2be_exp.runs.shared import CONFIG, Shared, is_shared, read_shared
from p2be_exp.system.atomic import create_json, is_leftover, overwrite_json, remove_leftovers, replacing, write_json
from p2be_exp.system.attempts import this_attempt
from p2be_exp.system.command_line import typed
from p2be_exp.system.forms import misfit, read_json
from p2be_exp.system.ownership import LOCK, holds
from p2be_exp.system.paths import user_path
from p2be_exp.system.peers import FOLDER

FORMAT_VERSION = 1
"""Version of a run folder's layout and of the keys in its ``config.yaml``.

A new key must be filled in for older runs, in :mod:`p2be_exp.config.older`, or this number must be raised.
"""

_OUTPUT = (".log", ".out", ".err")
"""Suffixes of files for a command's output (``> RUN/train.log``); a run itself has no such files."""

_OF_HYDRA = ".hydra"
"""The folder that Hydra writes first, beside its log, with ``hydra.output_subdir=.hydra``."""

State = Literal["running", "finished", "failed", "interrupted"]


@dataclass(frozen=True)
class _Opened:
    """The content of a run, read when it was opened."""

    config: TrainConfig
    info: dict[str, Any]


class Run:
    """A run folder.

    Attributes:
        path: the folder.
        place: the folder, or the place on the hub or in the zoo that a shared network was named by.
        shared: what a shared network says of itself, whose folder has no checkpoints and is never written to (see
            :mod:`p2be_exp.runs.shared`); None for a run.
    """

    FOLDERS = ("checkpoints", "per_image", "figures", "profile")
    """Subfolders that a training writes to."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.place = os.fspath(path)
        self.shared: Shared | None = None
        self._status_lock = threading.RLock()
        self._opened: _Opened | None = None

    @classmethod
    def open(
        cls, path: str | Path, key: str = "run", strict_plugins: bool | None = None, or_shared: bool = False
    ) -> Run:
        """Open the run in a folder; its configuration and facts are read and checked once, and kept.

        Args:
            path: the folder.
            key: the option that names the folder, for messages.
            strict_plugins: whether to refuse a plug-in whose file has changed since; None to follow the command line.
            or_shared: whether a shared network will do, at any of the places of :mod:`p2be_exp.runs.places`.

        Raises:
            BadInput: there is no such folder, it is not a run in a format that this version reads, or it needs a
                plug-in that was not allowed, is missing, or has changed with ``strict_plugins``.
        """
        run = cls(folder_of(key, path) if or_shared else user_path(key, path))
        where = f"{key}={path}"
        run._check_there(where, or_shared)
        file = CONFIG if run.shared else "config.yaml"
        stored, info = run._read(where)
        if isinstance(stored, dict) and isinstance(stored.get("plugins"), list):
            if not all(isinstance(name, str) and is_module_name(name) for name in stored["plugins"]):
                raise BadInput(f"{where}: {file} is damaged (plugins: {stored['plugins']})")
            load_plugins_of(stored, dict(info.get("plugins", {})), where, strict_plugins)
        try:
            config = typed_config(stored)
            check_config("train", config)
        except Exception as error:  # half a file may be valid YAML
            raise BadInput(f"{where}: {file} is damaged, or of another version ({error})") from error
        run._opened = _Opened(config, info)
        return run

    def _check_there(self, where: str, or_shared: bool) -> None:
        try:
            if not self.path.is_dir():
                raise BadInput(f"{where}: no such folder")
            if is_shared(self.path):
                if not or_shared:
                    raise BadInput(f"{where}: a network to share ({CONFIG}), not a run")
                self.shared, self.place = read_shared(self.path, where), where.partition("=")[2]
                return
            missing = [file.name for file in (self.config_file, self.run_file) if not file.is_file()]
        except OSError as error:  # another user's folder
            raise BadInput(f"{where}: cannot be read ({error.strerror})") from error
        if missing:
            raise BadInput(f"{where}: not a run folder ({' and '.join(missing)} missing)")

    def _read(self, where: str) -> tuple[Any, dict[str, Any]]:
        try:
            info, config = self._contents()
            version, _ = info["format_version"], dict(info.get("plugins", {}))
        except OSError as error:
            raise BadInput(f"{where}: {Path(error.filename).name} cannot be read ({error.strerror})") from error
        except Exception as error:
            why = f" ({error})" if type(error) is ValueError else ""
            files = CONFIG if self.shared else "config.yaml or run.json"
            raise BadInput(f"{where}: {files} is damaged{why}") from error
        if version != FORMAT_VERSION:
            raise BadInput(f"{where}: run format {version}; this version reads format {FORMAT_VERSION}")
        return config, info

    def _contents(self) -> tuple[dict[str, Any], Any]:
        if self.shared is not None:
            return self.shared.info, self.shared.configuration
        return self.info(), self.stored_config()

    # -- paths -----------------------------------------------------------------------------------------------------

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def run_file(self) -> Path:
        """Provenance of the run: command, seed, versions, parameters."""
        return self.path / "run.json"

    @property
    def status_file(self) -> Path:
        """The state of the run, with the time of its last sign of life."""
        return self.path / "status.json"

    @property
    def metrics_file(self) -> Path:
        """One row per epoch."""
        return self.path / "metrics.csv"

    def checkpoint(self, which: str = "last") -> Path:
        """The checkpoint file ``last``, ``best`` or ``epoch_NNN``."""
        return self.path / "checkpoints" / f"{which}.ckpt"

    # -- reading ---------------------------------------------------------------------------------------------------

    def config(self) -> TrainConfig:
        """A copy of the run's resolved configuration.

        Raises:
            BadInput: a key is missing, unknown or invalid; never for a run that has been opened.
        """
        return copy.deepcopy(self._opened.config) if self._opened else typed_config(self.stored_config())

    def stored_config(self) -> Any:
        """The content of ``config.yaml``, normally plain dictionaries; it is not checked.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        return read_stored(self.config_file)

    def info(self) -> dict[str, Any]:
        """The content of ``run.json``.

        Raises:
            OSError: it cannot be read.
            ValueError: it is damaged; the message names the key.
        """
        if self._opened is not None:
            return copy.deepcopy(self._opened.info)
        info = read_json(self.run_file)
        if found := misfit(INFO, info):
            raise ValueError(f"run.json: {found}")
        return info

    def status(self) -> dict[str, Any]:
        """The content of ``status.json``; empty if it is missing, unreadable or not as this version writes it."""
        try:
            status = read_json(self.status_file)
            return status if is_status(status) else {}
        except (OSError, TypeError, ValueError):
            return {}

    def remove_leftovers(self) -> None:
        """Remove partial files that a killed training left behind."""
        remove_leftovers(self.path, *(self.path / part for part in self.FOLDERS))

    def check_new(self, key: str) -> None:
        """Check that the folder does not exist, or holds only files that a failed or killed start leaves behind.

        Args:
            key: the option that names the folder, for messages.

        Raises:
            BadInput: it already holds a run.
            NotOwned: it holds files that no run has written.
        """
        if self.run_file.exists() and self.config_file.exists():
            raise BadInput(_holds_a_run(key, self.path))
        if not self.path.is_dir():
            return
        foreign = sorted(each.name for each in self.path.iterdir() if not self._is_left_behind(each))
        if foreign:
            more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            raise NotOwned(
                f"{key}={self.path}: holds {foreign[0]}{more}, which no run has written; choose another folder"
            )

    def _is_left_behind(self, file: Path) -> bool:
        """Whether a file may be left from a start that failed or was killed before there was a run.

        This includes a file to which the user redirects the command's output: it exists before the command starts.
        """
        if file.is_symlink():  # its target may belong to someone else, whatever its name
            return False
        if file.suffix in _OUTPUT and file.is_file():
            return True
        if file.name in (LOCK, FOLDER, _OF_HYDRA) or is_leftover(file.name) or file == self.run_file:
            return True
        if file == self.status_file:
            return self.status().get("state") in get_args(State)
        try:
            return file == self.config_file and {"preset", "encoding", "task_name"} <= set(read_stored(file))
        except (OSError, TypeError, ValueError):
            return False

    # -- writing ---------------------------------------------------------------------------------------------------

    def create(self, config: TrainConfig | dict[str, Any], **facts: Any) -> None:
        """Write ``config.yaml`` and ``run.json``.

        Raises:
            BadInput: the folder already holds a run, or cannot be written.
        """
        about = {"format_version": FORMAT_VERSION, **provenance(), "seed": plain(config)["seed"], **facts}
        self.check_new("hydra.run.dir")
        try:
            if not self.config_file.exists() and holds(self.path):
                self.run_file.unlink(missing_ok=True)  # left by a start that was killed between the two writes
            with replacing(self.config_file) as part:  # moved into place only after run.json
                part.write_text(OmegaConf.to_yaml(OmegaConf.create(plain(config))), encoding="utf-8")
                create_json(self.run_file, about)  # claims the folder, even without file locks
        except FileExistsError as error:
            raise BadInput(_holds_a_run("hydra.run.dir", self.path)) from error
        except OSError as error:
            raise BadInput(f"hydra.run.dir={self.path}: cannot be written ({error.strerror})") from error

    def add_facts(self, **facts: Any) -> None:
        """Add entries to ``run.json``."""
        self._opened = None  # the kept content is out of date
        write_json(self.run_file, {**self.info(), **facts})

    def set_status(self, state: State, **details: Any) -> None:
        """Write ``status.json`` with process and time; a killed run leaves ``running`` with an old time."""
        here = {"pid": os.getpid(), "host": socket.gethostname(), **this_attempt()}
        status = {"state": state, **here, "alive": now(), **details}
        with self._status_lock:
            overwrite_json(self.status_file, status)

    def renew_status(self) -> None:
        """Update the time of the last sign of life; may run concurrently with :meth:`set_status`."""
        with self._status_lock:
            if status := self.status():  # an unreadable status is not replaced by a partial one
                overwrite_json(self.status_file, {**status, "alive": now()})


def _holds_a_run(key: str, path: Path) -> str:
    return f"{key}={path}: already holds a run; {typed(resume=path)} resumes it"
