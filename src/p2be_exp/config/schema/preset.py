"""Keys of ``preset=``."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number


@dataclass
class PresetConfig:
    """Switches that the groups interpolate, so that presets and experiments set no keys of options that are not chosen.

    There is one for each point where the reference code and the paper differ, for the table's initialisation, and for
    what the paper chooses per data set.
    """

    name: str = MISSING
    smoothness: str = choice("mean", "sum")
    slope_at_zero: float = choice(2.0, 4.0)
    init: str = choice("normal", "onehot", "thermometer")
    nesterov: bool = MISSING
    lr_end: float = number(0)
    table_schedule: str = choice("cosine", "constant")
    table_learns_from_adversarial: bool = MISSING
    lambda_smooth: float = number(0)
    magnitude: float = number(0.1, 10)
    view_rounding: str = choice("reference", "floor", "nearest")
