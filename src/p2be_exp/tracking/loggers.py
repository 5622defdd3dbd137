"""The loggers of a run beside ``metrics.csv``: Weights & Biases and TensorBoard, or both."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from p2be_exp.config.schema import LoggerConfig, TrainConfig, WandbLoggerConfig
from p2be_exp.config.typed import plain
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run
from p2be_exp.system.ranks import rank
from p2be_exp.tracking.wandb_run import wandb_logger


def build_loggers(config: TrainConfig, run: Run, sweep: str | None = None) -> list[Logger]:
    """The loggers that the ``logger`` group selects, in its order; none for ``csv``, which is always written.

    Args:
        config: a run's resolved configuration.
        run: its folder; the W&B run id is stored in its ``run.json``, so that a resumed run continues the same W&B run.
        sweep: name of the sweep that this run is a job of.

    Raises:
        BadInput: a logger is not installed, or W&B cannot be reached or the user is not logged in.
    """
    if rank(config.trainer) > 0:  # rank 0 logs for all, and its run.json may not exist yet
        return []
    if "tensorboard" in config.logger and importlib.util.find_spec("tensorboard") is None:  # before W&B has a run
        raise BadInput("logger=tensorboard: not installed; pip install 'p2be-exp[tensorboard]'")
    made = (_logger(name, settings, config, run, sweep) for name, settings in config.logger.items())
    return [logger for logger in made if logger is not None]


def step_intervals(loggers: Mapping[str, LoggerConfig]) -> list[int]:
    """After how many steps each of the loggers gets the terms of one, in the order of :func:`build_loggers`."""
    return [every for each in loggers.values() if (every := each.log_every_n_steps) is not None]


def finish(loggers: list[Logger], exit_code: int) -> None:
    """Close the loggers; the W&B run with the exit code of its job, so that the next job of a sweep opens a new one."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.finalize("")
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish(exit_code=exit_code)


def _logger(name: str, settings: LoggerConfig, config: TrainConfig, run: Run, sweep: str | None) -> Logger | None:
    if isinstance(settings, WandbLoggerConfig):
        return wandb_logger(config, settings, run, sweep)
    return _tensorboard_logger(config, run) if name == "tensorboard" else None


def _tensorboard_logger(config: TrainConfig, run: Run) -> TensorBoardLogger:
    logger = TensorBoardLogger(save_dir=run.path, name="", version="tensorboard", default_hp_metric=False)
    logger.hparams = plain(config)  # for hparams.yaml
    return logger
