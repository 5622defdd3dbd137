"""``train.py``: compose, check, train; or go on with a run; or a job for each point of a grid."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.commands.help import train_help
from p2be_exp.commands.hydra_app import hydra_main
from p2be_exp.commands.job import (
    RESUMABLE,
    check_not_running,
    check_writable,
    existing_part,
    is_resumable,
    job_config,
    relative,
    train_job,
)
from p2be_exp.commands.sweep import list_jobs, multirun, named_sweep, wants_list
from p2be_exp.config import check_config, compose_config, parse_overrides, to_plain
from p2be_exp.config.quoting import read_arguments, typed
from p2be_exp.errors import BadInput
from p2be_exp.plugins import load_requested
from p2be_exp.ranks import job_from_main, rank, started_from_outside
from p2be_exp.runs import Run, find_run, load_checkpoint

_MULTIRUN_FLAGS = {"-m", "--multirun"}
_HYDRA_FLAGS = {"--cfg", "-c", "--info", "-i", "--hydra-help", "--version", "--shell-completion", "-sc"}


def main() -> int:
    """Run the command with ``sys.argv``; return its exit code."""
    return exit_code_of(_command)


def _command() -> None:
    arguments = read_arguments(sys.argv[1:])
    load_requested(arguments)
    if {"-h", "--help"} & set(arguments):
        print(train_help())
        return
    if (job := job_from_main()) is not None:
        train_job(job["config"], Run(job["run"]), resume=job["resume"])
        return
    flags = [argument for argument in arguments if argument.startswith("-")]
    if any(flag.split("=")[0] in _HYDRA_FLAGS for flag in flags):
        hydra_main(lambda config: None, arguments)  # they show something and train nothing
        return
    if unknown := set(flags) - _MULTIRUN_FLAGS:
        raise BadInput(f"{unknown.pop()}: not a flag of train.py, which takes KEY=VALUE and --multirun (see --help)")
    overrides = parse_overrides(arguments)
    given = [argument for argument in arguments if not argument.startswith("-")]
    if overrides.get("resume", "null") != "null":
        _resume(overrides, given, flags)
    elif overrides.get("sweeps", "null") != "null":
        named_sweep(given, overrides)
    elif wants_list(overrides):
        print(list_jobs(given))
    elif _MULTIRUN_FLAGS & set(flags):
        if "${" not in (folder := overrides.get("hydra.sweep.dir", ".")):
            check_writable(Path(folder), "hydra.sweep.dir")
        sys.exit(multirun(given))
    else:
        _single(arguments)


# -- one run ----------------------------------------------------------------------------------------------------------


def _single(arguments: list[str]) -> None:
    composed = compose_config("train", arguments, with_hydra=True)
    config = job_config(composed)
    _check_folder(composed, config["trainer"])
    if rank(config["trainer"]) > 0:  # started by torchrun or Slurm beside rank 0, which writes the folder
        train_job(config, Run(composed.hydra.run.dir))
        return

    failure: list[Exception] = []
    existing = existing_part(Path(composed.hydra.run.dir))

    def task(_: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            train_job(config, Run(relative(folder)))
        except Exception as error:
            failure.append(error)  # Hydra would print lines of its own about it
        finally:
            _remove_empty(folder, below=existing)

    hydra_main(task, arguments)
    if failure:
        raise failure[0]


def _check_folder(composed: DictConfig, trainer: dict[str, Any]) -> None:
    if started_from_outside(trainer) and "hydra.run.dir" not in str(composed.hydra.overrides.hydra):
        raise BadInput("hydra.run.dir: several processes were started from outside; name a folder that they share")
    folder = Path(composed.hydra.run.dir)
    if (folder / "run.json").exists() and rank(trainer) == 0:
        raise BadInput(f"hydra.run.dir={folder}: holds a run already; {typed(resume=folder)} goes on with it")
    check_writable(folder, "hydra.run.dir")


# -- resume -----------------------------------------------------------------------------------------------------------


def _resume(overrides: dict[str, str], arguments: list[str], flags: list[str]) -> None:
    if flags:
        raise BadInput(f"resume={overrides['resume']}: does not go with {' '.join(flags)}")
    run = find_run(overrides["resume"], key="resume")
    config = _resumed_config(run, {key for key in overrides if key != "resume"}, arguments)
    check_not_running(run, "resume", config["trainer"])
    if run.checkpoint("last").exists():
        load_checkpoint(run, key="resume")
    train_job(config, run, resume=True)


def _resumed_config(run: Run, keys: set[str], arguments: list[str]) -> dict[str, Any]:
    """The run's own configuration with the keys of the command line that may differ."""
    for key in sorted(keys):
        if not is_resumable(key):
            raise BadInput(f"{key}: a resumed run keeps its own; with resume= go only {', '.join(RESUMABLE)}")
    config = run.config()
    chosen = [f"{group}={config[group]['name']}" for group in ("trainer", "logger", "dataset") if group not in keys]
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


# -- folders ----------------------------------------------------------------------------------------------------------


def _remove_empty(folder: Path, below: Path) -> None:
    """Remove a folder where it is empty, and then those above it up to one that was there before."""
    for each in (folder, *folder.parents):
        if each == below or not each.is_dir() or any(each.iterdir()):
            return
        each.rmdir()
