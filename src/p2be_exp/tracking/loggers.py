"""The loggers of a run: Weights & Biases and TensorBoard."""

from __future__ import annotations

import importlib.util
import secrets

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from p2be_exp.config.schema import TrainConfig, WandbLoggerConfig
from p2be_exp.config.typed import plain
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run
from p2be_exp.system.ranks import rank
from p2be_exp.tracking.columns import flat_columns, run_name

TAGGED_GROUPS = ("encoding", "backbone", "dataset", "regime", "preset")
"""Configuration groups whose chosen options become tags of a W&B run."""


def build_loggers(config: TrainConfig, run: Run, sweep: str | None = None) -> list[Logger]:
    """The loggers that the ``logger`` group selects; none for ``csv``, which is always written.

    Args:
        config: a run's resolved configuration.
        run: its folder; the W&B run id is stored in its ``run.json``, so that a resumed run continues the same W&B run.
        sweep: name of the sweep that this run is a job of.

    Raises:
        BadInput: the logger is not installed, or W&B cannot be reached or the user is not logged in.
    """
    if rank(config.trainer) > 0:  # rank 0 logs for all, and its run.json may not exist yet
        return []
    if isinstance(config.logger, WandbLoggerConfig):
        return [_wandb_logger(config, config.logger, run, sweep)]
    if config.logger.name == "tensorboard":
        if importlib.util.find_spec("tensorboard") is None:
            raise BadInput("logger=tensorboard: not installed; pip install p2be-exp[tensorboard]")
        return [TensorBoardLogger(save_dir=run.path, name="", version="tensorboard")]
    return []


def finish(loggers: list[Logger], exit_code: int) -> None:
    """Close the W&B run of this job with its exit code, so that the next job of a sweep starts a new one."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish(exit_code=exit_code)


def _wandb_logger(config: TrainConfig, settings: WandbLoggerConfig, run: Run, sweep: str | None) -> WandbLogger:
    import wandb

    offline = settings.mode == "offline"
    info = run.info()
    earlier = info.get("wandb_id")
    # An offline run cannot be continued: the resumed part is a new run in the same group.
    run_id = earlier if earlier and not offline else secrets.token_hex(4)
    group = settings.group or sweep or info.get("wandb_group") or (run.path.name if offline else None)
    logger = WandbLogger(
        name=run_name(config),
        save_dir=str(run.path),
        id=run_id,
        offline=offline,
        project=settings.project,
        entity=settings.entity,
        group=group,
        tags=[*(getattr(config, group).name for group in TAGGED_GROUPS), *settings.tags],
        config={**plain(config), **flat_columns(config)},
        resume=None if offline else "allow",
    )
    if pl.utilities.rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        try:
            _ = logger.experiment  # starts the run now, before an hour of training
        except (wandb.errors.Error, OSError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise BadInput(f"logger=wandb: W&B could not start ({reason}); log in, or logger.mode=offline") from error
        run.add_facts(wandb_id=run_id, wandb_group=group)
    return logger
