"""Keeping ``status.json`` up to date and closing the loggers, however a job ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from pytorch_lightning.loggers import Logger

from p2be_exp.config.schema import TrainConfig
from p2be_exp.errors import BadInput, Interrupted, ResourceError
from p2be_exp.runs.run import Run, State
from p2be_exp.system.command_line import typed
from p2be_exp.system.peers import Ending, PeerFailed
from p2be_exp.system.program import words_of
from p2be_exp.system.ranks import rank
from p2be_exp.system.together import ended_by_others
from p2be_exp.system.watch import Watch
from p2be_exp.tracking import build_loggers, finish
from p2be_exp.training.callbacks import heartbeat


@contextmanager
def recorded(run: Run, config: TrainConfig, sweep: str | None, watch: Watch) -> Iterator[list[Logger]]:
    """Open a job's loggers; at the end close them with its exit code and write how it ended.

    Args:
        run: the job's folder.
        config: its resolved configuration.
        sweep: name of the sweep that it belongs to.
        watch: that of this process.
    """
    loggers: list[Logger] = []
    main = rank(config.trainer) == 0
    resuming = f"\nstopped; to continue: {resume_command(run, config.plugins)}\n"

    def record(state: State, exit_code: int, **details: Any) -> None:
        watch.is_coming_out()
        try:
            finish(loggers, exit_code)
        finally:  # closing may take long enough for another signal
            if main:
                run.set_status(state, exit_code=exit_code, **details)

    def last_words(ending: Ending) -> None:
        """Record the end of a process whose main thread is blocked in a wait."""
        if ending.signal is None:
            run.set_status("failed", exit_code=ending.exit_code, error=str(PeerFailed(ending)))
            return
        run.set_status("interrupted", exit_code=ending.exit_code, signal=ending.signal)
        os.write(2, os.fsencode(resuming))

    if main:
        watch.last_words = last_words
    try:
        if main:
            run.set_status("running", epochs=config.epochs)
        loggers.extend(build_loggers(config, run, sweep))
        alive = heartbeat(run, lambda: not watch.waited_for) if main else nullcontext()
        with alive, ended_by_others(watch):
            yield loggers
        watch.is_coming_out()  # inside the try: it may raise what the watch has found
    except Interrupted as stop:
        record("interrupted", 128 + stop.signal, signal=stop.signal)
        if main:
            print(resuming, end="", file=sys.stderr, flush=True)
        raise
    except PeerFailed as error:
        record("failed", error.ending.exit_code, error=str(error))
        raise
    except BadInput as error:
        record("failed", 2, error=str(error))
        raise
    except BaseException as error:
        message = str(error) if isinstance(error, ResourceError) else f"{type(error).__name__}: {error}"
        record("failed", 1, error=message)
        raise
    else:
        record("finished", 0)


def resume_command(run: Run, plugins: Sequence[str] = ()) -> str:
    """The command that resumes a run.

    Args:
        run: the folder.
        plugins: the plug-ins that it needs.
    """
    named = [f"plugins=[{','.join(plugins)}]"] if plugins else []
    return typed(*words_of("train"), *named, resume=run.path)
