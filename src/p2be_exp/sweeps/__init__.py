"""Sweeps: the jobs behind a table or a figure of the paper, from the files in ``sweeps/``."""

from p2be_exp.sweeps.plan import JOB_NUMBER, Job, check_first, check_grid, labelled, plan_jobs
from p2be_exp.sweeps.sweep_file import Sweep, first_runs_of, list_sweeps, read_sweep, with_folders

__all__ = [
    "JOB_NUMBER",
    "Job",
    "Sweep",
    "check_first",
    "check_grid",
    "first_runs_of",
    "labelled",
    "list_sweeps",
    "plan_jobs",
    "read_sweep",
    "with_folders",
]
