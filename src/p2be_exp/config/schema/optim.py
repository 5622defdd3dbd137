"""Keys of ``optim=``: the optimizers and their schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number


@dataclass
class OptimConfig:
    """What every option has."""

    lr: float = number(above=0)
    weight_decay: float = number(0)
    lr_end: float = number(0)
    clip_norm: float | None = number(above=0)
    accumulate: int = number(1)
    warmup_epochs: int = number(0)
    ema: Any = MISSING  # null or 0, a decay, or constant
    ema_from: int = number(0)

    @property
    def averages(self) -> bool:
        """Whether the weights are averaged."""
        return bool(self.ema)

    @property
    def ema_decay(self) -> float | None:
        """Of an average in which later steps count more; None where all count the same."""
        return None if self.ema == "constant" else float(self.ema)


@dataclass
class SGDConfig(OptimConfig):
    """SGD for the network, AdamW for the table."""

    schedule: str = choice("cosine", "steps")
    milestones: list[int] = number(1)
    gamma: float = number(above=0, high=1)
    momentum: float = number(0, 1)
    nesterov: bool = MISSING
    table_lr: float = number(above=0)
    table_betas: list[float] = number(0, 1)
    table_weight_decay: float = number(0)
    table_schedule: str = choice("cosine", "constant")


@dataclass
class AdamConfig(OptimConfig):
    """Adam for the network, AdamW for the table."""

    name: str = MISSING
    schedule: str = choice("cosine", "constant")
    betas: list[float] = number(0, 1)
    table_lr: float = number(above=0)
    table_betas: list[float] = number(0, 1)
    table_weight_decay: float = number(0)
    table_schedule: str = choice("cosine", "constant")


@dataclass
class AdamWConfig(OptimConfig):
    """AdamW for a network without a table that learns."""

    name: str = MISSING
    betas: list[float] = number(0, 1)
    warmup: float = number(0, 1)
