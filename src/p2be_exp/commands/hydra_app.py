"""Running a task under Hydra, which chooses the folder, or the grid of jobs, and calls the task for each."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.utils import configure_log, run_job, setup_globals
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, read_write

from p2be_exp.commands.exit_codes import FULL_ERROR
from p2be_exp.config import CONF_DIR
from p2be_exp.config.compose import plain_errors
from p2be_exp.config.schema import register_schemas
from p2be_exp.system.command_line import as_override
from p2be_exp.system.output import lasting_output


def hydra_main(task: Callable[[DictConfig], Any], arguments: Sequence[str] | None = None) -> None:
    """Run a task under Hydra; errors are raised as exceptions, not printed by Hydra.

    Args:
        task: called for each job with its composed configuration.
        arguments: default those of ``sys.argv``.
    """
    register_schemas()
    typed = sys.argv
    sys.argv = typed if arguments is None else [typed[0], *arguments]  # Hydra reads nothing else

    def called(config: DictConfig) -> Any:
        sys.argv = typed  # recorded as the command of the run, also in another process
        # Processes that the task starts inherit the user's setting; a launcher may have started this one.
        with _environment(FULL_ERROR, before), _folder(here), lasting_output():
            return task(config)

    before, here = os.environ.get(FULL_ERROR), Path.cwd()
    try:
        with (
            plain_errors([argument for argument in sys.argv[1:] if not argument.startswith("-")]),
            _environment(FULL_ERROR, "1"),
            _root_logger_kept(),
        ):
            hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="train")(called)()
    finally:
        sys.argv = typed


def run_composed(task: Callable[[DictConfig], Any], composed: DictConfig, folder: Path) -> None:
    """Run a task as Hydra runs a single job, with a configuration that is already composed.

    ``hydra.main`` would compose it twice more: once to learn that it is a single job, and once for the job.

    Args:
        task: called with the configuration.
        composed: with Hydra's own node; its folder and mode are filled in.
        folder: of the job, instead of ``hydra.run.dir``.
    """
    before, here = os.environ.get(FULL_ERROR), Path.cwd()

    def called(config: DictConfig) -> Any:
        with _environment(FULL_ERROR, before), _folder(here), lasting_output():
            return task(config)

    setup_globals()
    with read_write(composed.hydra):
        composed.hydra.run.dir, composed.hydra.mode = str(folder), RunMode.RUN
        composed.hydra.overrides.hydra.append(as_override("hydra.run.dir", folder))
    name = composed.hydra.job.config_name
    with plain_errors([]), _environment(FULL_ERROR, "1"), _root_logger_kept():
        configure_log(composed.hydra.hydra_logging, composed.hydra.verbose)
        callbacks = Callbacks(composed)
        callbacks.on_run_start(config=composed, config_name=name)
        loader = ConfigLoaderImpl(create_automatic_config_search_path(None, None, str(CONF_DIR)))
        done = run_job(called, composed, "hydra.run.dir", None, HydraContext(loader, callbacks))
        callbacks.on_run_end(config=composed, config_name=name, job_return=done)
        _ = done.return_value  # raises what the job raised


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Work in a folder while the block runs: hydra.job.chdir=true would change the meaning of every relative path."""
    before = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Restore the root logger's level and handlers, which ``hydra/job_logging=default`` changes."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    """Set an environment variable (None: unset it) while the block runs."""
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before
