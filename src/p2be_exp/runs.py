"""The run folder: what a training leaves behind, how to find it, read it and go on with it."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import OmegaConf

from p2be_exp.atomic import create_json, overwrite_json, remove_leftovers, replacing, write_json
from p2be_exp.config.checks import check_config
from p2be_exp.errors import BadInput
from p2be_exp.plugins import check_unchanged, digests, load_plugins

if TYPE_CHECKING:
    from p2be_exp.model import EncodedClassifier

FORMAT_VERSION = 1
"""Version of a run folder's layout and of the keys in its ``config.yaml``.

Whoever adds a key that older runs lack fills it in, in :meth:`Run.config`, or raises this number.
"""

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
        config = OmegaConf.to_container(OmegaConf.load(self.config_file), resolve=True)
        if isinstance(config, dict) and isinstance(config.get("preset"), dict):
            _fill_in(config)
        return config

    def info(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        return json.loads(self.run_file.read_text(encoding="utf-8"))

    def status(self) -> dict[str, Any]:
        """The content of ``status.json``, empty where there is none that can be read."""
        try:
            return json.loads(self.status_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}

    def remove_leftovers(self) -> None:
        """Remove what a killed training left behind of files that it was writing."""
        remove_leftovers(*(self.path / part for part in ("", "checkpoints", "per_image", "figures")))

    # -- writing ---------------------------------------------------------------------------------------------------

    def create(self, config: dict[str, Any], **facts: Any) -> None:
        """Write ``config.yaml`` and ``run.json``.

        Raises:
            BadInput: the folder holds a run already, or cannot be written.
        """
        about = {"format_version": FORMAT_VERSION, **provenance(), "seed": config["seed"], **facts}
        try:
            with replacing(self.config_file) as part:  # in place once run.json is, and only then
                part.write_text(OmegaConf.to_yaml(OmegaConf.create(config)), encoding="utf-8")
                create_json(self.run_file, about)  # claims the folder, which another process may want too
        except FileExistsError as error:
            raise BadInput(
                f"hydra.run.dir={self.path}: holds a run already; resume={self.path} goes on with it"
            ) from error
        except OSError as error:
            raise BadInput(f"hydra.run.dir={self.path}: cannot be written ({error.strerror})") from error

    def add_facts(self, **facts: Any) -> None:
        """Add entries to ``run.json``."""
        write_json(self.run_file, {**self.info(), **facts})

    def set_status(self, state: State, **details: Any) -> None:
        """Write ``status.json`` with process and time; a killed run leaves ``running`` and an old time behind."""
        here = {"pid": os.getpid(), "host": socket.gethostname(), **slurm_start()}
        status = {"state": state, **here, "alive": now(), **details}
        with self._status_lock:
            overwrite_json(self.status_file, status)

    def renew_status(self) -> None:
        """Renew the time of the last sign of life; safe beside :meth:`set_status` in another thread."""
        with self._status_lock:
            overwrite_json(self.status_file, {**self.status(), "alive": now()})


def slurm_start() -> dict[str, Any]:
    """Which start of which job of Slurm's this process is in: ``slurm_job`` and ``slurm_restarts``; {} outside."""
    if "SLURM_JOB_ID" not in os.environ:
        return {}
    return {"slurm_job": os.environ["SLURM_JOB_ID"], "slurm_restarts": int(os.environ.get("SLURM_RESTART_COUNT", "0"))}


def find_run(path: str | Path, key: str = "run") -> Run:
    """The run in a folder.

    Args:
        path: the folder.
        key: the option under which the user gave it, for the message.

    Raises:
        BadInput: there is no such folder, it is no run of a format that this version reads, or one of its plug-ins
            is missing, or is another file than the one it was made with.
    """
    run = Run(path)
    if not run.path.is_dir():
        raise BadInput(f"{key}={path}: no such folder")
    missing = [file.name for file in (run.config_file, run.run_file) if not file.is_file()]
    if missing:
        raise BadInput(f"{key}={path}: not a run folder ({' and '.join(missing)} missing)")
    try:
        info, config = run.info(), run.config()
        version, recorded = info["format_version"], dict(info.get("plugins", {}))
    except Exception as error:
        raise BadInput(f"{key}={path}: config.yaml or run.json is damaged") from error
    if version != FORMAT_VERSION:
        raise BadInput(f"{key}={path}: run format {version}, this version reads {FORMAT_VERSION}")
    if isinstance(config, dict) and isinstance(config.get("plugins"), list):
        if not all(isinstance(name, str) for name in config["plugins"]):
            raise BadInput(f"{key}={path}: config.yaml is damaged (plugins: {config['plugins']})")
        load_plugins(config["plugins"], f"{key}={path}")
        check_unchanged(config, recorded, f"{key}={path}")
    try:
        check_config("train", config)
    except Exception as error:  # half a file may be valid YAML
        raise BadInput(f"{key}={path}: config.yaml is damaged, or of another version ({error})") from error
    return run


def load_run(path: str | Path, checkpoint: str = "last", device: str = "cpu") -> EncodedClassifier:
    """The trained model of a run, in eval mode.

    Args:
        path: the run folder.
        checkpoint: ``last`` or ``best``.
        device: where to put it.

    Returns:
        A classifier that takes uint8 levels or floats in [0, 1], ``(B, 3, H, W)``, and returns logits.

    Raises:
        BadInput: no run, no such checkpoint, or a damaged one.
    """
    import torch

    from p2be_exp.model import build_model

    run = find_run(path)
    config, saved = run.config(), load_checkpoint(run, checkpoint)
    with torch.random.fork_rng():  # the initial weights are thrown away; the caller's random numbers are not touched
        model = build_model(config, saved["hyper_parameters"]["num_classes"])
    weights = saved["state_dict"]
    # Beside the model a checkpoint has what training kept for itself.
    own = {name.removeprefix("model."): value for name, value in weights.items() if name.startswith("model.")}
    try:
        model.load_state_dict(own)
    except RuntimeError as error:
        raise BadInput(f"run={path}: checkpoints/{checkpoint}.ckpt does not fit config.yaml") from error
    return model.to(device).eval()


def load_checkpoint(run: Run, which: str = "last", key: str = "run") -> dict[str, Any]:
    """A checkpoint of a run on the CPU, every record compared with its checksum (see :mod:`p2be_exp.saved_file`).

    Raises:
        BadInput: it is missing, cannot be read or is damaged, or weights in it are no numbers.
    """
    from p2be_exp.saved_file import Damaged, not_a_number, read_saved

    file = run.checkpoint(which)
    if not file.is_file():
        hint = "it has no validation split" if which == "best" else "no epoch was finished"
        raise BadInput(f"{key}={run.path}: no checkpoints/{file.name} ({hint})")
    where = f"{key}={run.path}: checkpoints/{file.name}"
    try:
        checkpoint = read_saved(file)
        weights, _ = dict(checkpoint["state_dict"]), checkpoint["hyper_parameters"]["num_classes"]
    except OSError as error:
        raise BadInput(f"{where} cannot be read ({error.strerror})") from error
    except Exception as error:
        record = error.record if isinstance(error, Damaged) else ""
        raise BadInput(f"{where} is damaged{f' ({record})' if record else ''}") from error
    # Beside the model a checkpoint has what training kept for itself.
    if wrong := not_a_number({name: value for name, value in weights.items() if str(name).startswith("model.")}):
        raise BadInput(f"{where}: {wrong}; the training diverged (lower optim.lr or set optim.clip_norm)")
    return checkpoint


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
