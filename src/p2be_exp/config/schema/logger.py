"""Keys of ``logger=``: of each logger that is chosen, ``logger.NAME.KEY``."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number


@dataclass
class LoggerConfig:
    """Base of every logger; a run has any number of them, by name."""

    name: str = MISSING

    @property
    def log_every_n_steps(self) -> int | None:
        """Logging interval in steps; None if only epochs are logged."""
        return None


@dataclass
class CSVLoggerConfig(LoggerConfig):
    name: str = "csv"


@dataclass
class WandbLoggerConfig(LoggerConfig):
    name: str = "wandb"
    project: str | None = MISSING
    entity: str | None = MISSING
    mode: str | None = choice("online", "offline", None)
    group: str | None = MISSING
    tags: list[str] = MISSING
    log_every_n_steps: int = number(1)


@dataclass
class TensorBoardLoggerConfig(LoggerConfig):
    name: str = "tensorboard"
    log_every_n_steps: int = number(1)
