"""The run folder: what a training leaves behind, how to find it, read it and go on with it."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from omegaconf import OmegaConf

from p2be_exp.atomic import create_json, is_leftover, overwrite_json, remove_leftovers, replacing, write_json
from p2be_exp.attempts import STATUS, is_complete, this_attempt
from p2be_exp.config.checks import check_config
from p2be_exp.config.paths import user_path
from p2be_exp.config.quoting import typed
from p2be_exp.config.stored import read_stored
from p2be_exp.errors import BadInput, NotOwned
from p2be_exp.forms import Form, misfit, read_json
from p2be_exp.ownership import LOCK, holds
from p2be_exp.plugin_files import is_module_name
from p2be_exp.plugins import allow, digests, load_former_of, load_plugins_of
from p2be_exp.system.peers import FOLDER

if TYPE_CHECKING:
    from p2be_exp.model import EncodedClassifier

FORMAT_VERSION = 1
"""Version of a run folder's layout and of the keys in its ``config.yaml``.

Whoever adds a key that older runs lack fills it in, in :meth:`Run.config`, or raises this number.
"""

_OUTPUT = (".log", ".out", ".err")
"""Endings of files that a command's output is written to (``> RUN/train.log``); no run has files that end so."""

_OF_HYDRA = (".hydra", "hydra_app.log")
"""What Hydra writes into a job's folder first, where it is asked to (``hydra.output_subdir=.hydra``)."""

State = Literal["running", "finished", "failed", "interrupted"]
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
            _fill_in(config)
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


def find_run(path: str | Path, key: str = "run") -> Run:
    """The run in a folder.

    Args:
        path: the folder.
        key: the option under which the user gave it, for the message.

    Raises:
        BadInput: there is no such folder, it is no run of a format that this version reads, or it needs a plug-in that
            was not allowed, is missing, or is another file than the one it was made with.
    """
    run = Run(user_path(key, path))
    try:
        if not run.path.is_dir():
            raise BadInput(f"{key}={path}: no such folder")
        missing = [file.name for file in (run.config_file, run.run_file) if not file.is_file()]
    except OSError as error:  # somebody else's
        raise BadInput(f"{key}={path}: cannot be read ({error.strerror})") from error
    if missing:
        raise BadInput(f"{key}={path}: not a run folder ({' and '.join(missing)} missing)")
    try:
        info, config = run.info(), run.config()
        version, recorded = info["format_version"], dict(info.get("plugins", {}))
    except OSError as error:
        raise BadInput(f"{key}={path}: {Path(error.filename).name} cannot be read ({error.strerror})") from error
    except Exception as error:
        why = f" ({error})" if type(error) is ValueError else ""
        raise BadInput(f"{key}={path}: config.yaml or run.json is damaged{why}") from error
    if version != FORMAT_VERSION:
        raise BadInput(f"{key}={path}: run format {version}, this version reads {FORMAT_VERSION}")
    if isinstance(config, dict) and isinstance(config.get("plugins"), list):
        if not all(isinstance(name, str) and is_module_name(name) for name in config["plugins"]):
            raise BadInput(f"{key}={path}: config.yaml is damaged (plugins: {config['plugins']})")
        load_plugins_of(config, recorded, f"{key}={path}")
        load_former_of(config, f"{key}={path}")
    try:
        check_config("train", config)
    except Exception as error:  # half a file may be valid YAML
        raise BadInput(f"{key}={path}: config.yaml is damaged, or of another version ({error})") from error
    return run


def load_run(
    path: Path | str,
    checkpoint: str = "last",
    device: str = "cpu",
    plugins: Sequence[str] = (),
    key: str = "run",
) -> EncodedClassifier:
    """The trained model of a run, in eval mode.

    Args:
        path: the run folder.
        checkpoint: ``last`` or ``best``.
        device: where to put it.
        plugins: modules that may be imported because the run needs them, besides those that are imported already and
            those that P2BE_PLUGINS names. A plug-in is code: see docs/runs.md, "Runs from others".
        key: the option under which a user gave the folder, for messages.

    Returns:
        A classifier that takes uint8 levels or floats in [0, 1], ``(B, 3, H, W)``, and returns logits.

    Raises:
        BadInput: no run, no such checkpoint, or a damaged one.
    """
    import torch

    from p2be_exp.model import build_model

    allow(plugins)
    run = find_run(path, key)
    config, saved = run.config(), load_checkpoint(run, checkpoint, key)
    with torch.random.fork_rng():  # the initial weights are thrown away; the caller's random numbers are not touched
        model = build_model(config, saved["hyper_parameters"]["num_classes"])
    weights = saved["state_dict"]
    # Beside the model a checkpoint has what training kept for itself.
    own = {name.removeprefix("model."): value for name, value in weights.items() if name.startswith("model.")}
    try:
        model.load_state_dict(own)
    except RuntimeError as error:
        raise BadInput(f"{key}={path}: checkpoints/{checkpoint}.ckpt does not fit config.yaml") from error
    return model.to(device).eval()


def load_checkpoint(run: Run, which: str = "last", key: str = "run") -> dict[str, Any]:
    """A checkpoint of a run on the CPU, every record compared with its checksum (see :mod:`p2be_exp.saved_file`).

    Raises:
        BadInput: it is missing, cannot be read or is damaged, or weights in it are no numbers.
    """
    file = run.checkpoint(which)
    if not file.is_file():
        hint = "it has no validation split" if which == "best" else "no epoch was finished"
        raise BadInput(f"{key}={run.path}: no checkpoints/{file.name} ({hint})")
    from p2be_exp.saved_file import Damaged, not_a_number, read_saved  # and PyTorch with it, which takes seconds

    where = f"{key}={run.path}: checkpoints/{file.name}"
    try:
        checkpoint = read_saved(file)
        weights = dict(checkpoint["state_dict"])
        if wrong := _misfit(checkpoint, weights):
            raise Damaged(wrong)
    except OSError as error:
        raise BadInput(f"{where} cannot be read ({error.strerror})") from error
    except Exception as error:
        record = error.record if isinstance(error, Damaged) else ""
        raise BadInput(f"{where} is damaged{f' ({record})' if record else ''}") from error
    # Beside the model a checkpoint has what training kept for itself.
    if wrong := not_a_number({name: value for name, value in weights.items() if str(name).startswith("model.")}):
        raise BadInput(f"{where}: {wrong}; the training diverged (lower optim.lr or set optim.clip_norm)")
    return checkpoint


def _misfit(checkpoint: Mapping[str, Any], weights: Mapping[str, Any]) -> str | None:
    """What of a checkpoint no training writes; None where nothing is."""
    classes, step = checkpoint["hyper_parameters"]["num_classes"], checkpoint["global_step"]
    if type(step) is not int or step < 0:
        return f"global_step: {step!r:.60}"
    # A network for any other number would be built before its weights turn out not to fit, whatever memory it takes.
    shapes = (getattr(value, "shape", ()) for value in weights.values())
    if type(classes) is not int or classes < 1 or all(classes not in shape for shape in shapes):
        return f"num_classes: {classes!r:.60}"
    return None


def _fill_in(config: dict[str, Any]) -> None:
    """Give a configuration of an older version the keys that have come since, with the values that it was run with."""
    preset = config["preset"]
    preset.setdefault("table_learns_from_adversarial", True)  # older runs train without an attack
    preset.setdefault("lambda_smooth", 1.0)
    preset.setdefault("magnitude", 3.0)
    preset.setdefault("view_rounding", "floor")  # one rule for all encodings then
    if config["regime"]["name"] == "augmix":
        config["regime"].setdefault("view_rounding", "floor")
    config["dataset"].setdefault("augmentation", "flip_crop")
    if "workers" in config["dataset"]:
        config["dataset"].setdefault("timeout", 300.0)
    config["optim"].setdefault("schedule", "cosine")
    config["optim"].setdefault("milestones", [])
    config["optim"].setdefault("gamma", 0.1)
    config["trainer"].setdefault("timeout", 600.0)
    for key, value in {"sweeps": None, "scale": "full", "dry_run": False, "plugins": []}.items():
        config.setdefault(key, value)


def provenance() -> dict[str, Any]:
    """What ran, on what: command, time, versions, git commit, plug-ins, platform."""
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "created": now(),
        "git_commit": _git_commit(),
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
    """The time in UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git_commit() -> str | None:
    """Commit of the source tree, with ``+`` where it is changed; None outside a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
