"""Identification of a run: a readable name, and flat columns to filter and group by."""

from __future__ import annotations

from typing import Any

from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import plain

COLUMN_GROUPS = ("encoding", "backbone", "regime", "dataset", "preset")
"""Configuration groups whose chosen option is a column, ``GROUP_name``."""

COLUMNS = (*(f"{group}_name" for group in COLUMN_GROUPS), "M", "lambda_smooth")
"""Names of the columns; ``seed`` and ``scale`` are flat in every configuration already."""


def run_name(config: TrainConfig) -> str:
    """A readable name: what was trained, on which data, and the seed."""
    encoding = config.encoding.name + ("" if config.encoding.M is None else f"-M{config.encoding.M}")
    parts = (encoding, config.backbone.name, config.regime.name, config.dataset.name)
    return "_".join((*parts, f"seed{config.seed}"))


def flat_columns(config: TrainConfig) -> dict[str, Any]:
    """The columns of a run, in addition to its full configuration; those that its encoding lacks are left out.

    W&B stores a nested key as ``encoding.value.name``, which its tables, filters and chart axes spell differently; a
    flat key without dots is spelled the same everywhere. None of these is the name of a configuration group.

    Args:
        config: a run's resolved configuration.
    """
    encoding = config.encoding
    columns = {f"{group}_name": getattr(config, group).name for group in COLUMN_GROUPS}
    if encoding.name == "rgb":
        columns["M"] = 1  # its table has one column
    return columns | {key: value for key, value in plain(encoding).items() if key in ("M", "lambda_smooth")}
