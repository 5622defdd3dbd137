"""Keys of ``optim=``: both optimizers and their schedules."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number


@dataclass
class OptimConfig:
    lr: float = number(above=0)
    schedule: str = choice("cosine", "steps")
    milestones: list[int] = number(1)
    gamma: float = number(above=0, high=1)
    momentum: float = number(0, 1)
    nesterov: bool = MISSING
    weight_decay: float = number(0)
    lr_end: float = number(0)
    table_lr: float = number(above=0)
    table_betas: list[float] = number(0, 1)
    table_weight_decay: float = number(0)
    table_schedule: str = choice("cosine", "constant")
    clip_norm: float | None = number(above=0)
    accumulate: int = number(1)
