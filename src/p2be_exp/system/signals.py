"""The signals that stop a job."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from p2be_exp.errors import Interrupted


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGINT, SIGTERM and SIGHUP; in a Slurm job also SIGUSR1 and SIGUSR2.

    A closed terminal, or a lost ssh connection, sends SIGHUP; if it is ignored (``nohup``), it stays so. Job scripts
    and submitit request one of the last two from Slurm before the time limit. By default each of them would end the
    process without saving.
    """
    always: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        always = (*always, signal.SIGHUP)
    return (*always, signal.SIGUSR1, signal.SIGUSR2) if "SLURM_JOB_ID" in os.environ else always


@contextmanager
def raising() -> Iterator[None]:
    """Let a stop signal raise :class:`~p2be_exp.errors.Interrupted` while the block runs, in the main thread.

    For single-process jobs that can be interrupted anywhere. Trainings and jobs with several processes use
    :class:`~p2be_exp.system.stop_signals.StopSignals`, which imports PyTorch.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        # When a terminal closes, both the shell and the system send SIGHUP: once is enough.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in stop_signals()}
    before.setdefault(signal.SIGHUP, signal.getsignal(signal.SIGHUP))
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: it was not installed by Python
                signal.signal(number, handler)
