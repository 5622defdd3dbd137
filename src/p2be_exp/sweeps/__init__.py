"""Sweeps: the jobs behind a table or a figure of the paper, from the files in ``sweeps/``."""

from p2be_exp.sweeps.plan import JOB_NUMBER, Job, check_first, check_grid, labelled, plan_jobs
from p2be_exp.sweeps.sweep_file import FIRST, Sweep, list_sweeps, read_sweep

__all__ = [
    "FIRST",
    "JOB_NUMBER",
    "Job",
    "Sweep",
    "check_first",
    "check_grid",
    "labelled",
    "list_sweeps",
    "plan_jobs",
    "read_sweep",
]
