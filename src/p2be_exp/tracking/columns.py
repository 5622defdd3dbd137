"""Identification of a run: a readable name, and flat columns to filter and group by."""

from __future__ import annotations

from typing import Any

from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import plain

COLUMN_GROUPS = ("encoding", "model", "backbone", "regime", "dataset", "preset")
"""Configuration groups whose chosen option is a column, ``GROUP_name``."""

COLUMNS = (*(f"{group}_name" for group in COLUMN_GROUPS), "activation", "M", "lambda_smooth")
"""Names of the columns; ``seed`` and ``scale`` are flat in every configuration already."""


def run_name(config: TrainConfig) -> str:
    """A readable name: what was trained, on which data, and the seed; a plain model and its ReLUs are not told."""
    encoding = config.encoding.name + ("" if config.encoding.M is None else f"-M{config.encoding.M}")
    activation = plain(config.backbone).get("activation", "relu")
    backbone = config.network + ("" if activation == "relu" else f"-{activation}")
    model = () if config.model.name == "plain" else (config.model.label,)
    return "_".join((encoding, *model, backbone, config.regime.name, config.dataset.name, f"seed{config.seed}"))


def flat_columns(config: TrainConfig) -> dict[str, Any]:
    """The columns of a run, in addition to its full configuration; what encoding or backbone lack is left out.

    W&B stores a nested key as ``encoding.value.name``, which its tables, filters and chart axes spell differently; a
    flat key without dots is spelled the same everywhere. None of these is the name of a configuration group.

    Args:
        config: a run's resolved configuration.
    """
    encoding = config.encoding
    columns = {f"{group}_name": getattr(config, group).name for group in COLUMN_GROUPS}
    if encoding.name == "rgb":
        columns["M"] = 1  # its table has one column
    settings = plain(config.backbone) | plain(encoding)
    return columns | {key: settings[key] for key in ("activation", "M", "lambda_smooth") if key in settings}
