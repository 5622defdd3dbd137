"""Several trainings from one command: each point of a grid, or the jobs of a file in ``sweeps/``."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from p2be_exp.commands.hydra_app import hydra_main
from p2be_exp.commands.job import (
    check_not_running,
    check_writable,
    differences,
    job_config,
    patience,
    relative,
    train_job,
)
from p2be_exp.config.parts import as_asked
from p2be_exp.config.schema import TrainConfig
from p2be_exp.errors import BadInput, Interrupted, NotOwned, ResourceError, one_line
from p2be_exp.runs.evaluations import ATTACKED
from p2be_exp.runs.run import Run
from p2be_exp.sweeps import JOB_NUMBER, Job, Sweep, first_runs_of, labelled, plan_jobs, read_sweep, with_folders
from p2be_exp.sweeps.sweep_file import of_group
from p2be_exp.sweeps.tuner import check_tunable, tuner_of, validation_error
from p2be_exp.system.atomic import is_full, refuse_links
from p2be_exp.system.command_line import as_override, quoted, typed
from p2be_exp.system.forms import read_json, unusable
from p2be_exp.system.output import for_terminal
from p2be_exp.system.ownership import owned
from p2be_exp.system.paths import user_path
from p2be_exp.system.program import words_of

_SUBMITIT = "SUBMITIT_EXECUTOR"
"""Environment variable that submitit sets in the processes of its jobs."""


@dataclass
class _Outcomes:
    """The outcomes of the jobs in this process; jobs in other processes record theirs in their folders."""

    failed: dict[str, Exception] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Grid:
    """The overrides of one multirun, and the first runs that its jobs need."""

    overrides: list[str]
    needs: frozenset[str]


# -- a file of sweeps/ ------------------------------------------------------------------------------------------------


def named_sweep(arguments: Sequence[str], overrides: Mapping[str, str]) -> None:
    """Run the jobs of a sweep file, or list them with ``dry_run=true``.

    Every job is composed and checked before the first one starts.

    Args:
        arguments: the user's overrides.
        overrides: the same by key.

    Raises:
        BadInput: there is no such sweep, or one of its jobs is invalid.
        SystemExit: always, with the exit code, after reporting the finished jobs.
    """
    own = ("sweeps", "scale", "dry_run")
    given = [each for each in arguments if each.split("=")[0] not in own]
    sweep = read_sweep(overrides["sweeps"], overrides.get("scale", "full"), given)
    folder = _folder(overrides)
    stages = _stages(sweep, folder)
    with _naming_file(sweep, given):
        plans = [[plan_jobs(grid.overrides) for grid in stage] for stage in stages]
        differing = _unlike_published(sweep, plans)
        if wants_list(overrides):
            title = "\n".join([sweep.title, f"scale={sweep.scale}: {sweep.about}", *differing])
            print(_listed(plans, title, folder))
            return
    count = sum(len(grid) for plan in plans for grid in plan)
    jobs = f"{count} {'jobs' if count > 1 else 'job'}, scale={sweep.scale}, in {folder}"
    print(for_terminal("\n".join([sweep.title, jobs, *differing])), flush=True)
    code = _run_stages(stages, plans, folder)
    runs = [Run(each.parent) for each in folder.glob("*/status.json")]
    if finished := [run for run in runs if run.status().get("state") == "finished"]:
        _report(folder)
        apart = ATTACKED[Path()]  # where limit_attack puts attacks
        if any((run.path / apart / "results.json").exists() for run in finished):
            _report(folder, apart.name)
    sys.exit(code)


def _unlike_published(sweep: Sweep, plans: Sequence[Sequence[Sequence[Job]]]) -> list[str]:
    """What will keep the results from standing beside the paper's; a small sweep is marked as that anyway."""
    from p2be_exp.sweeps.unlike_published import unlike_published

    if sweep.scale != "full":
        return []
    told = unlike_published(job.config for plan in plans for grid in plan for job in grid)
    return [f"not comparable with the paper: {each}" for each in told]


def _run_stages(stages: Sequence[Sequence[_Grid]], plans: Sequence[Sequence[Sequence[Job]]], folder: Path) -> int:
    """Run grids one after another, also behind one with a failed job, but none that needs a run which failed.

    Returns:
        The exit code: 0, or 2 if all failures were bad input, else 1.
    """
    codes: set[int] = set()
    failed: set[str] = set()
    for stage, plan in zip(stages, plans, strict=True):
        labels = {job.folder: label for job, label in labelled([*chain.from_iterable(plan)])}
        for grid, jobs in zip(stage, plan, strict=True):
            if missing := sorted(grid.needs & failed):
                count = f"{len(jobs)} job{'s' * (len(jobs) > 1)}"
                print(f"{count} not started, for want of {' and '.join(missing)}", file=sys.stderr)
                continue
            code = multirun(grid.overrides, folder, {job.folder: labels[job.folder] for job in jobs})
            codes.add(code)
            failed |= {job.folder for job in jobs if code}
    return 0 if codes <= {0} else 2 if codes <= {0, 2} else 1


@contextmanager
def _naming_file(sweep: Sweep, given: Sequence[str]) -> Iterator[None]:
    """Prefix an error with the sweep's file if the offending key comes from that file, not from an override."""
    try:
        yield
    except BadInput as error:
        key = re.match(r"[\w.@/]+(?==)", str(error))
        mine = key and not any(f"{key.group()}.".startswith(f"{each.split('=')[0].lstrip('+~')}.") for each in given)
        raise (BadInput(f"sweeps/{sweep.name}.yaml: {error}") if mine else error) from error.__cause__


def wants_list(overrides: Mapping[str, str]) -> bool:
    """Whether ``dry_run`` is true, in any spelling that a configuration accepts.

    Raises:
        BadInput: it is neither true nor false.
    """
    text = overrides.get("dry_run", "false").lower()
    if text not in (*_YES, *_NO):
        raise BadInput(f"dry_run={text}: must be true or false")
    return text in _YES


_YES, _NO = ("true", "yes", "y", "on", "1"), ("false", "no", "n", "off", "0")


def _folder(overrides: Mapping[str, str]) -> Path:
    for key in ("hydra.sweep.subdir", "hydra.run.dir"):
        if key in overrides:
            raise BadInput(
                f"{key}={overrides[key]}: cannot be combined with sweeps=; name its folder with hydra.sweep.dir=FOLDER"
            )
    folder = overrides.get("hydra.sweep.dir", _new_folder(overrides.get("task_name", "train")))
    if "${" in folder:
        raise BadInput(f"hydra.sweep.dir={folder}: must be a plain folder with sweeps=")
    return sweep_folder(folder)


def grid_folder(overrides: Mapping[str, str]) -> Path | None:
    """The folder of a grid whose jobs a launcher may run in other processes; None where Hydra alone can tell it.

    Raises:
        BadInput: see :func:`sweep_folder`.
    """
    folder = overrides.get("hydra.sweep.dir", _new_folder(overrides.get("task_name", "train")))
    own = {"hydra/sweeper", "hydra.sweep.subdir"} & set(overrides)
    return None if own or "hydra/launcher" not in overrides or "${" in folder else sweep_folder(folder)


def sweep_folder(text: str) -> Path:
    """The folder of a sweep that the user names.

    Raises:
        BadInput: it cannot be written, or a file in it that libraries open by name is a link.
    """
    folder = user_path("hydra.sweep.dir", text)
    check_writable(folder, "hydra.sweep.dir")
    refuse_links(folder, *_WRITTEN_BY_NAME, key="hydra.sweep.dir")
    return folder


_WRITTEN_BY_NAME = ("multirun.yaml", "optimization_results.yaml", "report", "report_attacks")
"""Files that Hydra, its sweepers and the report write into a sweep's folder; the first two follow links."""


def _report(folder: Path, evaluation: str | None = None) -> None:
    from p2be_exp.report.paper.write import make_report, report_text, write_report

    report = make_report([str(folder)], evaluation=evaluation)
    out = folder / ("report" if evaluation is None else f"report_{evaluation}")
    write_report(report, out)
    text = for_terminal(report_text(report))
    print(f"\n{text}\n\nreport in {out}: index.html, report.md, tables/, figures/")


def _new_folder(task_name: str) -> str:
    return f"logs/{task_name}/multiruns/{datetime.now():%Y-%m-%d_%H-%M-%S_%f}"


def _stages(sweep: Sweep, folder: Path) -> list[list[_Grid]]:
    """The multiruns by stage: the runs that others need, if any, and the others."""
    where = [as_override("hydra.sweep.dir", folder)]
    folders = {name: quoted(folder / name) for name in sweep.first}
    first = [
        _Grid([*overrides, *where, f"hydra.sweep.subdir={name}"], frozenset())
        for name, overrides in sweep.first.items()
    ]
    grids = []
    for block, overrides in sweep.grids.items():
        own = [with_folders(each, folders) for each in overrides if not each.startswith("hydra.sweep.dir=")]
        # Every multirun counts its jobs from 0.
        subdir = [f"hydra.sweep.subdir={block}-{JOB_NUMBER}"] if block else []
        needs = frozenset(name for each in overrides for name in first_runs_of(each))
        grids.append(_Grid([*_with_their_option(own), *where, *subdir], needs))
    return [first, grids] if first else [grids]


def _with_their_option(overrides: Sequence[str]) -> list[str]:
    """The same grid, for Hydra, which first composes a configuration without the overrides that have several values.

    A key of one of those options (``regime.attack.steps`` with ``regime=contrain,advtrain``) would be unknown there;
    as a choice of one value it is left out with its option.

    >>> _with_their_option(["regime=contrain,advtrain", "regime.attack.steps=2", "epochs=1"])
    ['regime=contrain,advtrain', 'regime.attack.steps=choice(2)', 'epochs=1']
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    several = [each.key_or_group for each in parsed if each.is_sweep_override()]
    found = []
    for text, each in zip(overrides, parsed, strict=True):
        key, _, value = text.partition("=")
        depends = any(of_group(key, group) for group in several)
        found.append(f"{key}=choice({value})" if depends and not each.is_sweep_override() else text)
    return found


def list_jobs(*stages: Sequence[Sequence[str]], title: str = "", folder: Path | None = None) -> str:
    """The jobs of one or more grids with an estimate of their time, as text.

    Args:
        stages: overrides of each grid of each stage.
        title: one or two lines at the top.
        folder: of the sweep, to find the jobs that are already finished.
    """
    return _listed([[plan_jobs(grid) for grid in stage] for stage in stages], title, folder)


def _listed(plans: Sequence[Sequence[Sequence[Job]]], title: str, folder: Path | None) -> str:
    from p2be_exp.sweeps.listing import jobs_table

    return jobs_table([[*chain.from_iterable(plan)] for plan in plans], title=title, folder=folder)


# -- a grid -----------------------------------------------------------------------------------------------------------


def multirun(arguments: Sequence[str], folder: Path | None = None, labels: Mapping[str, str] | None = None) -> int:
    """Run every job of a grid through Hydra's launcher; list the failures at the end.

    Args:
        arguments: overrides; those with several values span the grid.
        folder: of the sweep, if it is known in advance; failures in other processes are read from it, and end no other
            job.
        labels: what to print when a job starts, by the name of its folder.

    Returns:
        The exit code: 0, or 2 if all failures were bad input, else 1.

    Raises:
        Interrupted: a signal stopped a job; later jobs were not started.
    """
    outcomes, here, before = _Outcomes(), os.getpid(), _status_times(folder)

    def task(composed: DictConfig) -> float:
        job_folder = Path(HydraConfig.get().runtime.output_dir)
        outcomes.folders.append(job_folder)
        label = labels[job_folder.name] if labels else " ".join(HydraConfig.get().overrides.task)
        print(f"\n== {job_folder.name}{f': {label}' if label else ''}", flush=True)
        try:
            return _sweep_job(composed, job_folder)
        except Interrupted as stop:
            if os.getpid() == here or _SUBMITIT not in os.environ:
                raise
            _leave_to_submitit(stop, recorded=folder is not None)
            return float("nan")
        except Exception as error:
            outcomes.failed[str(relative(job_folder))] = error
            _report_failure(Run(relative(job_folder)), error)
            recorded = folder is not None and Run(relative(job_folder)).status().get("state") == "failed"
            if os.getpid() != here and not recorded:
                raise  # in another process, whose failure would go unnoticed otherwise
            return float("nan")

    try:
        hydra_main(task, ["--multirun", *arguments])
    except (Interrupted, KeyboardInterrupt):
        if outcomes.folders:
            print(f"the sweep: {_continuing(outcomes.folders[-1].parent)}", file=sys.stderr, flush=True)
        raise
    except OSError as error:
        if outcomes.folders or error.filename is None or is_full(error):
            raise
        raise BadInput(f"hydra.sweep.dir={error.filename}: cannot be written ({error.strerror})") from error
    failed = {name: (str(error), isinstance(error, BadInput)) for name, error in outcomes.failed.items()}
    ran: Collection[str | Path] = labels or outcomes.folders
    if folder is not None:
        names = labels or [name for name, time in _status_times(folder).items() if before.get(name) != time]
        failed, ran = {**_failed_elsewhere(folder, names), **failed}, names or ran
    if not failed:
        return 0
    print(f"\n{len(failed)} of {len(ran)} jobs failed:", file=sys.stderr)
    for name, (why, _) in failed.items():
        print(f"  {name}: {one_line(why)}", file=sys.stderr)
    return 2 if all(bad for _, bad in failed.values()) else 1


def _status_times(folder: Path | None) -> dict[str, int]:
    """When the status of each job in the folder of a sweep was written last, by the job's name."""
    files = [] if folder is None else folder.glob("*/status.json")
    return {each.parent.name: each.stat().st_mtime_ns for each in files}


def _failed_elsewhere(folder: Path, names: Iterable[str]) -> dict[str, tuple[str, bool]]:
    """The jobs that did not finish, from their folders' status: the error, and whether it was bad input."""
    failed = {}
    for path in (folder / name for name in names):
        status = Run(path).status()
        if status.get("state") == "failed":
            failed[str(relative(path))] = (status.get("error", ""), status.get("exit_code") == 2)
        elif status.get("state") == "interrupted":
            failed[str(relative(path))] = ("stopped; the same command with hydra.sweep.dir= resumes it", False)
    return failed


def _leave_to_submitit(stop: Interrupted, recorded: bool) -> None:
    """End a stopped job in the way of submitit: its own signal requeues the job, any other one ends it.

    An exception would put a traceback into the job's log although nothing failed.

    Args:
        stop: why it was stopped; everything is saved.
        recorded: whether the command that waits for the job reads from its folder that it was stopped; otherwise a
            job that submitit does not requeue fails.
    """
    before = signal.getsignal(stop.signal)
    if stop.signal in (signal.SIGUSR1, signal.SIGUSR2) and callable(before):
        try:
            before(stop.signal, None)
        except Exception as reason:
            if not recorded:
                raise
            print(reason, file=sys.stderr, flush=True)
            return
    sys.exit(128 + stop.signal)


def _report_failure(run: Run, error: Exception) -> None:
    """Print an error, and record it in the folder if no run was made that records it itself."""
    bad, one_line_suffices = isinstance(error, BadInput), isinstance(error, BadInput | ResourceError)
    if not run.run_file.exists() and not isinstance(error, NotOwned):
        message = str(error) if one_line_suffices else f"{type(error).__name__}: {error}"
        run.set_status("failed", exit_code=2 if bad else 1, error=message)
    if one_line_suffices:
        print(f"error: {one_line(error)}", file=sys.stderr, flush=True)
    else:
        traceback.print_exc()


def _continuing(folder: Path) -> str:
    """The command that continues a whole sweep."""
    given = [each for each in sys.argv[1:] if not each.startswith("hydra.sweep.dir=")]
    return typed(*words_of("train"), *given, as_override("hydra.sweep.dir", relative(folder)))


def _sweep_job(composed: DictConfig, folder: Path) -> float:
    """Run a job; its test error, or what a tuner minimises, its validation error."""
    run = Run(relative(folder))
    config = job_config(composed)
    if config.trainer.devices * config.trainer.num_nodes > 1:
        raise BadInput(
            f"trainer.devices={config.trainer.devices}: a job of a sweep uses one device, since each of its "
            "processes would run the whole sweep"
        )
    tuner = tuner_of(HydraConfig.get().runtime.choices)
    if tuner is not None:
        check_tunable(tuner, config)
    group = folder.parent.name
    if config.sweeps is not None:
        group = f"{config.sweeps}-{config.scale}_{group}"
    with owned(run.path, "hydra.sweep.dir", patience(run)):
        if run.run_file.exists():
            error = _resume_job(config, run, group)
        else:
            run.check_new("hydra.sweep.dir")
            error = train_job(config, run, sweep=group)
        return error if tuner is None else validation_error(run)


def _resume_job(config: TrainConfig, run: Run, sweep: str) -> float:
    """The result of a finished job; a stopped one is resumed."""
    key = "hydra.sweep.dir"
    for name, (value, expected) in differences(as_asked(Run.open(run.path, key).config()), as_asked(config)).items():
        raise BadInput(f"{key}={run.path.parent}: job {run.path.name} there has {name}={value}, this one {expected}")
    if run.status().get("state") == "finished":
        print(f"{run.path}: already finished", flush=True)
        try:
            return float(read_json(run.path / "results.json")["clean_error"])
        except (KeyError, OSError, TypeError, ValueError) as error:
            raise BadInput(f"{key}={run.path.parent}: job {run.path.name}: results.json {unusable(error)}") from error
    check_not_running(run, key, config.trainer)
    return train_job(config, run, resume=True, sweep=sweep)
