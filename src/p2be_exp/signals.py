"""The signals that stop a job."""

from __future__ import annotations

import os
import signal


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGINT and SIGTERM; in a job of Slurm also SIGUSR1 and SIGUSR2.

    Job scripts and submitit ask Slurm for one of these before the time limit, and by default they would end the process
    with nothing saved.
    """
    always = (signal.SIGINT, signal.SIGTERM)
    return (*always, signal.SIGUSR1, signal.SIGUSR2) if "SLURM_JOB_ID" in os.environ else always
