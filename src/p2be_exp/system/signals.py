"""The signals that stop a job."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from p2be_exp.errors import Interrupted


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGINT, SIGTERM and SIGHUP; in a job of Slurm also SIGUSR1 and SIGUSR2.

    A terminal that is closed, or an ssh that is lost, sends SIGHUP; where it is ignored (``nohup``) it stays so. Job
    scripts and submitit ask Slurm for one of the last two before the time limit. By default each of them would end the
    process with nothing saved.
    """
    always: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        always = (*always, signal.SIGHUP)
    return (*always, signal.SIGUSR1, signal.SIGUSR2) if "SLURM_JOB_ID" in os.environ else always


@contextmanager
def raising() -> Iterator[None]:
    """Let a stop signal raise :class:`~p2be_exp.errors.Interrupted` while the block runs, in the main thread.

    For a job of this one process that can be broken off anywhere. What trains, or has processes beside it, listens by
    :class:`~p2be_exp.system.stop_signals.StopSignals`, for which PyTorch has to be imported.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        # A shell whose terminal is gone passes SIGHUP on, and the system sends its own: once is enough.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in stop_signals()}
    before.setdefault(signal.SIGHUP, signal.getsignal(signal.SIGHUP))
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # else it was not Python that put it there
                signal.signal(number, handler)
