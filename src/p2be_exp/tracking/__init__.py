"""Loggers in addition to ``metrics.csv``: Weights & Biases with its dashboards, TensorBoard."""

from p2be_exp.tracking.columns import COLUMNS, flat_columns, run_name
from p2be_exp.tracking.loggers import TAGGED_GROUPS, build_loggers, finish
from p2be_exp.tracking.results import log_results, summary_numbers

__all__ = [
    "COLUMNS",
    "TAGGED_GROUPS",
    "build_loggers",
    "finish",
    "flat_columns",
    "log_results",
    "run_name",
    "summary_numbers",
]
