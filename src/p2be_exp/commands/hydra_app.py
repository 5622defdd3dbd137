"""Handing over to Hydra: it decides the folder, or the grid of jobs, and calls back for each."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

from p2be_exp.commands.exit_codes import FULL_ERROR
from p2be_exp.config import CONF_DIR
from p2be_exp.config.compose import plain_errors
from p2be_exp.config.schema import register_schemas
from p2be_exp.system.output import lasting_output


def hydra_main(task: Callable[[DictConfig], Any], arguments: Sequence[str] | None = None) -> None:
    """Run a task under Hydra; its errors come back as exceptions, not as its own printout.

    Args:
        task: called for each job with its composed configuration.
        arguments: in the place of those of ``sys.argv``.
    """
    register_schemas()
    typed = sys.argv
    sys.argv = typed if arguments is None else [typed[0], *arguments]  # the only way in that Hydra has

    def called(config: DictConfig) -> Any:
        sys.argv = typed  # what a run says of the command that made it, also in another process
        # Processes that the task starts inherit what the user has set; a launcher may have started this one.
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


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Be in a folder for a while: hydra.job.chdir=true would give every relative path another meaning."""
    before = Path.cwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _root_logger_kept() -> Iterator[None]:
    """Give back the root logger's level and handlers, which ``hydra/job_logging=default`` changes."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


@contextmanager
def _environment(name: str, value: str | None) -> Iterator[None]:
    """Set a variable of the environment (None: unset it) for a while."""
    before = os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before
