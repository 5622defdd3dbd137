"""``train.py``: compose, check and train; or resume a run; or run a job for each point of a grid."""

from __future__ import annotations

import contextlib
import io
import sys
from contextlib import nullcontext
from dataclasses import replace

from omegaconf import DictConfig

from p2be_exp.commands.early_checks import check_early
from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.commands.group_help import asked_for, group_help, wants_help
from p2be_exp.commands.help import TRAIN_GROUPS, train_help, version
from p2be_exp.commands.hydra_app import hydra_main, run_composed
from p2be_exp.commands.job import (
    RESUMABLE,
    check_not_running,
    check_writable,
    differences,
    is_resumable,
    job_config,
    patience,
    relative,
    train_job,
)
from p2be_exp.commands.refusals import with_rank_in_refusals
from p2be_exp.commands.sweep import grid_folder, list_jobs, multirun, named_sweep, sweep_folder, wants_list
from p2be_exp.config import check_config, compose_config, parse_overrides, to_plain
from p2be_exp.config.parts import as_asked
from p2be_exp.config.plugin_trust import allow_requested
from p2be_exp.config.plugin_warnings import hold_warnings, warn_as
from p2be_exp.config.plugins import load_plugins, load_requested
from p2be_exp.config.quoting import read_arguments
from p2be_exp.config.schema import LoggerConfig, TrainConfig, TrainerConfig
from p2be_exp.config.typed import plain, typed
from p2be_exp.errors import BadInput
from p2be_exp.runs.load import load_checkpoint
from p2be_exp.runs.locations import locate
from p2be_exp.runs.run import Run
from p2be_exp.sweeps import check_first, check_grid
from p2be_exp.sweeps.tuner import check_tuner
from p2be_exp.system.attempts import follows
from p2be_exp.system.command_line import as_override
from p2be_exp.system.ownership import owned
from p2be_exp.system.paths import user_path
from p2be_exp.system.program import name_of
from p2be_exp.system.ranks import check_launcher, job_from_main, rank, started_from_outside
from p2be_exp.system.torchrun import check_one_process

_MULTIRUN_FLAGS = {"-m", "--multirun"}
_HYDRA_FLAGS = {"--cfg", "-c", "--info", "-i", "--hydra-help", "--shell-completion", "-sc"}


def main() -> int:
    """Run the command with ``sys.argv``; return its exit code."""
    return exit_code_of(with_rank_in_refusals(_command))


def _command() -> None:
    if "--version" in sys.argv[1:]:
        print(version())
        return
    arguments = read_arguments(sys.argv[1:])
    allow_requested(arguments)
    if not any(argument.startswith("resume=") for argument in arguments):  # else after comparing them with the run's
        load_requested(arguments)
    if wants_help(arguments):
        asked = asked_for(arguments, TRAIN_GROUPS)
        print("\n\n".join(map(group_help, asked)) if asked else train_help())
        return
    if (job := job_from_main()) is not None:
        load_plugins(job["config"]["plugins"])
        train_job(typed(job["config"]), Run(job["run"]), resume=job["resume"])
        return
    flags = [argument for argument in arguments if argument.startswith("-")]
    if any(flag.split("=")[0] in _HYDRA_FLAGS for flag in flags):
        _show(arguments)
        return
    if unknown := set(flags) - _MULTIRUN_FLAGS:
        takes = f"{name_of('train')}, which takes KEY=VALUE and --multirun (see --help)"
        raise BadInput(f"{unknown.pop()}: not a flag of {takes}")
    overrides = parse_overrides(arguments)
    given = [argument for argument in arguments if not argument.startswith("-")]
    if overrides.get("resume", "null") != "null":
        _resume(overrides, given, flags)
    elif overrides.get("sweeps", "null") != "null":
        check_one_process("a sweep")
        named_sweep(given, overrides)
    elif wants_list(overrides):
        check_one_process("dry_run=true")
        print(list_jobs([given]))
    elif _MULTIRUN_FLAGS & set(flags):
        check_one_process("a sweep")
        if "hydra/sweeper" not in overrides:  # other sweepers interpret the values differently
            check_grid(given)
            check_first(given)
        else:
            check_tuner(given)
        known = grid_folder(overrides)
        if known is not None:
            given += [as_override("hydra.sweep.dir", known)]
        elif "${" not in (folder := overrides.get("hydra.sweep.dir", ".")):
            expanded = sweep_folder(folder)
            given += [as_override("hydra.sweep.dir", expanded)] if folder.startswith("~") else []
        sys.exit(multirun(given, known))
    else:
        _single(arguments)


def _show(arguments: list[str]) -> None:
    """Let Hydra handle one of its own flags; nothing is trained.

    Raises:
        BadInput: the flag has a value that it does not accept.
    """
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            hydra_main(lambda config: None, arguments)
    except SystemExit as exit_:
        lines = stderr.getvalue().strip().splitlines()
        if exit_.code != 2 or not lines:
            raise
        raise BadInput(lines[-1].partition("error: ")[2] or lines[-1]) from exit_


# -- one run ----------------------------------------------------------------------------------------------------------


def _single(arguments: list[str]) -> None:
    composed = compose_config("train", arguments, with_hydra=True)
    config = job_config(composed)
    check_launcher(config.trainer)
    named = Run(user_path("hydra.run.dir", composed.hydra.run.dir))
    again = _holds_an_earlier_attempt(named)
    _check_folder(composed, config.trainer, again)
    if rank(config.trainer) > 0:  # started by torchrun or Slurm beside rank 0, which writes the folder
        # Rank 0 may be creating the run at this moment. A checkpoint in it is from an earlier attempt: rank 0 resumes
        # from it, or refuses the folder.
        train_job(config, named, resume=named.checkpoint("last").exists())
        return

    failure: list[Exception] = []
    run = Run(relative(named.path.absolute()))

    def task(_: DictConfig) -> None:
        try:
            train_job(config, run)
        except Exception as error:
            failure.append(error)  # Hydra would print its own lines about it

    # Before Hydra creates it, so that an empty folder is removed after a failed start.
    with owned(run.path, "hydra.run.dir", patience(run)):
        if again:
            _resume_attempt(config, run)
            return
        run.check_new("hydra.run.dir")
        run_composed(task, composed, run.path)
        if failure:
            raise failure[0]


def _check_folder(composed: DictConfig, trainer: TrainerConfig, again: bool) -> None:
    if started_from_outside(trainer) and "hydra.run.dir" not in str(composed.hydra.overrides.hydra):
        raise BadInput("hydra.run.dir: required with several processes from a launcher; name a folder that they share")
    folder = user_path("hydra.run.dir", composed.hydra.run.dir)
    if rank(trainer) == 0 and not again:
        Run(folder).check_new("hydra.run.dir")
    check_writable(folder, "hydra.run.dir")


# -- one run again: torchrun or Slurm restarted the same command ------------------------------------------------------


def _holds_an_earlier_attempt(run: Run) -> bool:
    """Whether a folder holds the run of an earlier attempt of this launch, in whatever state."""
    return run.run_file.exists() and run.config_file.exists() and follows(run.status())


def _resume_attempt(config: TrainConfig, run: Run) -> None:
    """Resume the run of an earlier attempt, which the launcher has ended.

    Raises:
        BadInput: its configuration differs, or it cannot be used.
    """
    key = "hydra.run.dir"
    for name, (value, expected) in differences(as_asked(Run.open(run.path, key).config()), as_asked(config)).items():
        raise BadInput(
            f"{key}={run.path}: already holds a run, with {name}={value}, not {expected}; choose another folder"
        )
    check_not_running(run, key, config.trainer)
    if run.checkpoint("last").exists():
        load_checkpoint(run, key=key)
    train_job(config, run, resume=True)


# -- resume -----------------------------------------------------------------------------------------------------------


def _resume(overrides: dict[str, str], arguments: list[str], flags: list[str]) -> None:
    if flags:
        raise BadInput(f"resume={overrides['resume']}: cannot be combined with {' '.join(flags)}")
    with hold_warnings():
        run = Run.open(overrides["resume"], key="resume")
        config = _resumed_config(run, {key for key in overrides if key not in ("resume", "plugins")}, arguments)
        check_launcher(config.trainer)
        warn_as(rank(config.trainer))
    main = rank(config.trainer) == 0
    with owned(run.path, "resume", patience(run)) if main else nullcontext():
        check_not_running(run, "resume", config.trainer)
        if run.checkpoint("last").exists():
            check_early(config, fresh=False)
            load_checkpoint(run, key="resume")
        train_job(config, Run(run.path), resume=True)  # what was read before locking may be out of date


def _resumed_config(run: Run, keys: set[str], arguments: list[str]) -> TrainConfig:
    """The run's own configuration with the keys that the command line may change."""
    for key in sorted(keys):
        if not is_resumable(key):
            raise BadInput(f"{key}: a resumed run keeps its own value; resume= accepts only {', '.join(RESUMABLE)}")
    config = run.config()
    chosen = [f"{group}={getattr(config, group).name}" for group in ("trainer", "dataset") if group not in keys]
    chosen += [] if "logger" in keys else [f"logger=[{','.join(config.logger)}]"]
    given = [argument for argument in arguments if not argument.startswith("resume=")]
    composed = typed(to_plain(compose_config("train", [*chosen, *given])))
    for key in keys:
        group, _, name = key.partition(".")
        if group == "logger":
            config.logger = _loggers(config.logger, composed.logger, keys)
        elif name and group not in keys:
            setattr(getattr(config, group), name, getattr(getattr(composed, group), name))
        else:
            setattr(config, group, getattr(composed, group))
    locate(config, run.info(), given=keys)
    check_config("train", config)
    return config


def _loggers(own: dict[str, LoggerConfig], chosen: dict[str, LoggerConfig], keys: set[str]) -> dict[str, LoggerConfig]:
    """The loggers of a resumed run: those that are chosen; one that it had keeps its settings where none is given."""
    kept = {
        name: {key: value for key, value in plain(each).items() if f"logger.{name}.{key}" not in keys}
        for name, each in own.items()
    }
    return {name: replace(each, **kept.get(name, {})) for name, each in chosen.items()}
