"""``train.py``: compose, check, train; or go on with a run; or a job for each point of a grid."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from p2be_exp.commands.exit_codes import FULL_ERROR, exit_code_of
from p2be_exp.commands.help import train_help
from p2be_exp.config import CONF_DIR, check_config, compose_config, parse_overrides, to_plain
from p2be_exp.config.compose import plain_errors
from p2be_exp.config.schema import register_schemas
from p2be_exp.errors import BadInput
from p2be_exp.ranks import job_from_main, rank, started_by_launcher
from p2be_exp.runs import Run, find_run, load_checkpoint

RESUMABLE = ("trainer", "logger", "watch_every")
"""Keys and groups that do not change what is trained; the only ones that go with ``resume=``."""

_MULTIRUN_FLAGS = {"-m", "--multirun"}
_HYDRA_FLAGS = {"--cfg", "-c", "--info", "-i", "--hydra-help", "--version", "--shell-completion", "-sc"}


def main() -> int:
    """Run the command with ``sys.argv``; return its exit code."""
    return exit_code_of(_command)


def _command() -> None:
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(train_help())
        return
    if (job := job_from_main()) is not None:
        _train(job["config"], Run(job["run"]), resume=job["resume"])
        return
    flags = [argument for argument in arguments if argument.startswith("-")]
    if any(flag.split("=")[0] in _HYDRA_FLAGS for flag in flags):
        _hydra_main(lambda config: None)  # they show something and train nothing
        return
    if unknown := set(flags) - _MULTIRUN_FLAGS:
        raise BadInput(f"{unknown.pop()}: not a flag of train.py, which takes KEY=VALUE and --multirun (see --help)")
    overrides = parse_overrides(arguments)
    if overrides.get("resume", "null") != "null":
        _resume(overrides, [argument for argument in arguments if not argument.startswith("-")], flags)
    elif _MULTIRUN_FLAGS & set(flags):
        _sweep()
    else:
        _single(arguments)


# -- one run ----------------------------------------------------------------------------------------------------------


def _single(arguments: list[str]) -> None:
    composed = compose_config("train", arguments, with_hydra=True)
    config = _job_config(composed)
    _check_folder(composed)
    if rank() > 0:  # started by torchrun or Slurm beside rank 0, which writes the folder
        _train(config, Run(composed.hydra.run.dir))
        return

    failure: list[Exception] = []
    existing = _existing(Path(composed.hydra.run.dir))

    def task(_: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            _train(config, Run(_relative(folder)))
        except Exception as error:
            failure.append(error)  # Hydra would print lines of its own about it
        finally:
            _remove_empty(folder, below=existing)

    _hydra_main(task)
    if failure:
        raise failure[0]


def _job_config(composed: DictConfig) -> dict[str, Any]:
    """The resolved and checked configuration, without Hydra's node."""
    bare = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    config = to_plain(bare)
    check_config("train", config)
    return config


def _check_folder(composed: DictConfig) -> None:
    if started_by_launcher() and "hydra.run.dir" not in str(composed.hydra.overrides.hydra):
        raise BadInput("hydra.run.dir: several processes were started from outside; name a folder that they share")
    folder = Path(composed.hydra.run.dir)
    if (folder / "run.json").exists() and rank() == 0:
        raise BadInput(f"hydra.run.dir={folder}: holds a run already; resume={folder} goes on with it")
    _check_writable(folder, "hydra.run.dir")


def _check_writable(folder: Path, key: str) -> None:
    existing = _existing(folder)
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise BadInput(f"{key}={folder}: cannot be written ({existing})")


def _train(config: dict[str, Any], run: Run, resume: bool = False, sweep: str | None = None) -> float:
    from p2be_exp.errors import Interrupted
    from p2be_exp.jobs import train

    try:
        return train(config, run, resume=resume, sweep=sweep)["clean_error"]
    except Interrupted:
        if rank() > 0:
            return float("nan")  # the ranks agreed to stop; a worker that failed would take the others down
        raise


# -- resume -----------------------------------------------------------------------------------------------------------


def _resume(overrides: dict[str, str], arguments: list[str], flags: list[str]) -> None:
    if flags:
        raise BadInput(f"resume={overrides['resume']}: does not go with {' '.join(flags)}")
    run = find_run(overrides["resume"], key="resume")
    config = _resumed_config(run, {key for key in overrides if key != "resume"}, arguments)
    _check_not_running(run)
    if run.checkpoint("last").exists():
        load_checkpoint(run, key="resume")
    _train(config, run, resume=True)


def _resumed_config(run: Run, keys: set[str], arguments: list[str]) -> dict[str, Any]:
    """The run's own configuration with the keys of the command line that may differ."""
    for key in sorted(keys):
        if key.split(".")[0] not in RESUMABLE:
            raise BadInput(f"{key}: a resumed run keeps its own; with resume= go only {', '.join(RESUMABLE)}")
    config = run.config()
    chosen = [f"{group}={config[group]['name']}" for group in ("trainer", "logger") if group not in keys]
    given = [argument for argument in arguments if not argument.startswith("resume=")]
    composed = to_plain(compose_config("train", [*chosen, *given]))
    for key in keys:
        group, _, name = key.partition(".")
        if name and group not in keys:
            config[group][name] = composed[group][name]
        else:
            config[group] = composed[group]
    check_config("train", config)
    return config


def _check_not_running(run: Run) -> None:
    status = run.status()
    if status.get("state") != "running" or rank() > 0:
        return
    silent = (datetime.now(UTC) - datetime.fromisoformat(status["alive"])).total_seconds()
    here = status.get("host") == socket.gethostname()
    gone = here and (status["pid"] == os.getpid() or not _alive(status["pid"]))
    if silent < 120 and not gone:
        where = "" if here else f" on {status.get('host')}, or stopped less than two minutes ago"
        raise BadInput(f"resume={run.path}: still running as process {status['pid']}{where}")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


# -- sweeps -----------------------------------------------------------------------------------------------------------


@dataclass
class _Outcomes:
    failed: list[tuple[str, Exception]] = field(default_factory=list)
    jobs: int = 0


def _sweep() -> None:
    outcomes = _Outcomes()

    def task(composed: DictConfig) -> float:
        folder = Path(HydraConfig.get().runtime.output_dir)
        outcomes.jobs += 1
        try:
            return _sweep_job(composed, folder)
        except Exception as error:
            outcomes.failed.append((str(_relative(folder)), error))
            if isinstance(error, BadInput):
                print(f"error: {error}", file=sys.stderr, flush=True)
            else:
                traceback.print_exc()
            raise

    try:
        _hydra_main(task)
    except Exception:
        if not outcomes.failed:  # the sweep itself, not one of its jobs
            raise
    if outcomes.failed:
        print(f"\n{len(outcomes.failed)} of {outcomes.jobs} jobs failed:", file=sys.stderr)
        for folder, error in outcomes.failed:
            print(f"  {folder}: {error}", file=sys.stderr)
        sys.exit(2 if all(isinstance(error, BadInput) for _, error in outcomes.failed) else 1)


def _sweep_job(composed: DictConfig, folder: Path) -> float:
    run = Run(_relative(folder))
    if run.run_file.exists():  # whose status is not ours to change
        raise BadInput(f"hydra.sweep.dir={folder.parent}: holds runs already")
    try:
        config = _job_config(composed)
        if config["trainer"]["devices"] * config["trainer"]["num_nodes"] > 1:
            raise BadInput(
                f"trainer.devices={config['trainer']['devices']}: a job of a sweep uses one device, since each of its "
                "processes would run the whole sweep"
            )
    except BadInput as error:
        run.set_status("failed", exit_code=2, error=str(error))
        raise
    return _train(config, run, sweep=folder.parent.name)


# -- Hydra ------------------------------------------------------------------------------------------------------------


def _hydra_main(task: Any) -> None:
    """Hand over to Hydra; its errors come back as exceptions, not as its own printout."""
    register_schemas()
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        with plain_errors([argument for argument in sys.argv[1:] if not argument.startswith("-")]):
            hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="train")(task)()
    finally:
        if before is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = before


def _relative(folder: Path) -> Path:
    """A folder as seen from here where that is shorter."""
    try:
        return folder.relative_to(Path.cwd())
    except ValueError:
        return folder


def _existing(folder: Path) -> Path:
    """A folder, or the nearest one above it that is there."""
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())


def _remove_empty(folder: Path, below: Path) -> None:
    """Remove a folder where it is empty, and then those above it up to one that was there before."""
    for each in (folder, *folder.parents):
        if each == below or not each.is_dir() or any(each.iterdir()):
            return
        each.rmdir()
