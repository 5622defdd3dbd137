"""The results of a run for its loggers: numbers under stable names, a table, figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import plain
from p2be_exp.tracking.tensorboard_results import log_to_tensorboard


def summary_numbers(summary: dict[str, Any]) -> dict[str, float]:
    """The numbers of a finished evaluation, in percent, by their names in W&B's summary and in TensorBoard.

    ``clean_error``, ``mean_corruption_error``, ``mce``, ``relative_mce``; by kind of corruption
    ``corruption_error/noise``; by radius ``lspga_error/8`` (LS-PGA as the reference code runs it) and
    ``worst_case_error/8``; ``CONDITION/error`` for every condition. What was not measured is left out.

    Args:
        summary: the content of ``results.json``.
    """
    numbers = {name: summary[name] for name in ("clean_error", "mean_corruption_error", "mce", "relative_mce")}
    if summary["corruptions"]:
        kinds = summary["corruptions"]["categories"].items()
        numbers |= {f"corruption_error/{kind}": mean["error"] for kind, mean in kinds}
    lspga = summary["attacks"].get("lspga", {"error": {}})["error"]
    numbers |= {f"lspga_error/{radius}": error for radius, error in lspga.items()}
    numbers |= {f"worst_case_error/{radius}": error for radius, error in (summary["worst_case_error"] or {}).items()}
    numbers |= {f"{name}/error": row["error"] for name, row in summary["conditions"].items()}
    return {name: float(number) for name, number in numbers.items() if number is not None}


def log_results(
    loggers: Sequence[Logger],
    config: TrainConfig,
    summary: dict[str, Any],
    rows: list[dict[str, Any]],
    figures: Sequence[Path],
) -> None:
    """Send the numbers, the table and the figures of a finished run to its loggers.

    Args:
        loggers: of the run.
        config: its configuration.
        summary: the content of ``results.json``.
        rows: one for each condition, all with the same columns.
        figures: files; those that are not PNG are left out.
    """
    numbers, pictures = summary_numbers(summary), [each for each in figures if each.suffix == ".png"]
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            _log_to_wandb(logger, numbers, rows, pictures)
        elif isinstance(logger, TensorBoardLogger):
            log_to_tensorboard(logger, plain(config), numbers, rows, pictures, summary["settings"]["step"])


def _log_to_wandb(
    logger: WandbLogger, numbers: dict[str, float], rows: list[dict[str, Any]], figures: Sequence[Path]
) -> None:
    columns = list(rows[0]) if rows else []
    logger.log_table("results", columns=columns, data=[[row[column] for column in columns] for row in rows])
    for name, number in numbers.items():
        logger.experiment.summary[name] = number
    for figure in figures:
        logger.log_image(f"figures/{figure.stem}", [str(figure)])
