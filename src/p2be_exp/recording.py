"""Keeping ``status.json`` true and the loggers closed, whatever happens to a job."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from pytorch_lightning.loggers import Logger

from p2be_exp.callbacks import heartbeat
from p2be_exp.config.quoting import typed
from p2be_exp.errors import BadInput, Interrupted, ResourceError
from p2be_exp.ranks import rank
from p2be_exp.runs import Run
from p2be_exp.tracking import build_loggers, finish


@contextmanager
def recorded(run: Run, config: dict[str, Any], sweep: str | None) -> Iterator[list[Logger]]:
    """Open a job's loggers; at the end close them with its exit code and write how it ended.

    Args:
        run: the job's folder.
        config: its resolved configuration.
        sweep: name of the sweep that it belongs to.
    """
    loggers: list[Logger] = []
    main = rank(config["trainer"]) == 0

    def record(state: str, exit_code: int, **details: Any) -> None:
        finish(loggers, exit_code)
        if main:
            run.set_status(state, exit_code=exit_code, **details)

    try:
        if main:
            run.set_status("running", epochs=config["epochs"])
        loggers.extend(build_loggers(config, run, sweep))
        with heartbeat(run) if main else nullcontext():
            yield loggers
    except Interrupted as stop:
        record("interrupted", 128 + stop.signal, signal=stop.signal)
        if main:
            command = resume_command(run, config["plugins"])
            print(f"\nstopped; to go on: {command}", file=sys.stderr, flush=True)
        raise
    except BadInput as error:
        record("failed", 2, error=str(error))
        raise
    except BaseException as error:
        told = str(error) if isinstance(error, ResourceError) else f"{type(error).__name__}: {error}"
        record("failed", 1, error=told)
        raise
    else:
        record("finished", 0)


def resume_command(run: Run, plugins: Sequence[str] = ()) -> str:
    """What to type to go on with a run.

    Args:
        run: the folder.
        plugins: those that it needs, which are named again.
    """
    named = [f"plugins=[{','.join(plugins)}]"] if plugins else []
    return typed("python", "train.py", *named, resume=run.path)
