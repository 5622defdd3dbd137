"""The signals that stop a job."""

from __future__ import annotations

import os
import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGINT, SIGTERM and SIGHUP; in a job of Slurm also SIGUSR1 and SIGUSR2.

    A terminal that is closed, or an ssh that is lost, sends SIGHUP; where it is ignored (``nohup``) it stays so. Job
    scripts and submitit ask Slurm for one of the last two before the time limit. By default each of them would end the
    process with nothing saved.
    """
    always = (signal.SIGINT, signal.SIGTERM)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        always = (*always, signal.SIGHUP)
    return (*always, signal.SIGUSR1, signal.SIGUSR2) if "SLURM_JOB_ID" in os.environ else always
