"""Loggers in addition to ``metrics.csv``: Weights & Biases with its dashboards, TensorBoard."""

from p2be_exp.tracking.columns import COLUMNS, flat_columns, run_name
from p2be_exp.tracking.loggers import build_loggers, finish, step_intervals
from p2be_exp.tracking.results import log_results, summary_numbers
from p2be_exp.tracking.wandb_run import TAGGED_GROUPS

__all__ = [
    "COLUMNS",
    "TAGGED_GROUPS",
    "build_loggers",
    "finish",
    "flat_columns",
    "log_results",
    "run_name",
    "step_intervals",
    "summary_numbers",
]
