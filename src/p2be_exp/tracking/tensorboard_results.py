"""The results of a run for TensorBoard: numbers, a table, figures, and the settings beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger


def log_to_tensorboard(
    logger: TensorBoardLogger,
    config: Mapping[str, Any],
    numbers: Mapping[str, float],
    rows: Sequence[Mapping[str, Any]],
    figures: Sequence[Path],
    step: int,
) -> None:
    """Send the results to SCALARS and HPARAMS, the table to TEXT and the figures to IMAGES.

    Args:
        logger: of the run.
        config: its configuration, as plain dictionaries.
        numbers: see :func:`p2be_exp.tracking.results.summary_numbers`. HPARAMS has those of the whole evaluation; those
            of single conditions, up to a hundred, would fill its table with columns.
        rows: one for each condition, all with the same columns.
        figures: PNG files.
        step: optimizer steps that the evaluated weights have behind them.
    """
    of_all = {name: number for name, number in numbers.items() if not name.endswith("/error")}
    logger.log_metrics({name: number for name, number in numbers.items() if name not in of_all}, step)
    logger.log_hyperparams(settings_by_key(config), of_all, step)
    writer = logger.experiment
    if rows:
        writer.add_text("results", _table(rows), step)
    for figure in figures:
        with Image.open(figure) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        writer.add_image(f"figures/{figure.stem}", pixels, step, dataformats="HWC")


def settings_by_key(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration as one level of keys, each with its value as on the command line.

    >>> settings_by_key({"encoding": {"name": "rgb"}, "plugins": ["mine", "yours"], "resume": None, "seed": 0})
    {'encoding.name': 'rgb', 'plugins': '[mine,yours]', 'resume': 'null', 'seed': 0}
    """
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= settings_by_key(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            found[f"{prefix}{key}"] = f"[{','.join(map(str, value))}]"
        else:
            found[f"{prefix}{key}"] = "null" if value is None else value
    return found


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows in Markdown, which TensorBoard draws."""
    columns = list(rows[0])
    lines = [columns, ["---"] * len(columns), *([_cell(row[column]) for column in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
