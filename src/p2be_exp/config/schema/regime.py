"""Keys of ``regime=``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number
from p2be_exp.config.schema.attack import AttackConfig
from p2be_exp.config.schema.option import Group


@dataclass
class RegimeConfig:
    """Base of every regime."""

    name: str = MISSING

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return True

    @property
    def attack(self) -> AttackConfig | None:
        """Attack that it trains against."""
        return None

    @property
    def needs_stages(self) -> str | None:
        """Why it needs ``model=plain`` and a backbone with stages: what a user has chosen; None if it does not."""
        return None


@dataclass
class NoRegimeConfig(RegimeConfig):
    name: str = "none"

    @property
    def trains(self) -> bool:
        """Nothing."""
        return False


@dataclass
class StandardConfig(RegimeConfig):
    name: str = "standard"


@dataclass
class AugMixConfig(RegimeConfig):
    name: str = "augmix"
    alpha_jsd: float = number(0)
    magnitude: float = number(0.1, 10)
    view_rounding: str = choice("reference", "floor", "nearest")


@dataclass
class ConTrainConfig(RegimeConfig):
    name: str = "contrain"
    alpha_jsd: float = number(0)
    table_learns_from_adversarial: bool = MISSING
    attack: Group[AttackConfig] = MISSING


@dataclass
class RobustConfig(RegimeConfig):
    """What the regimes have under which weights may be perturbed."""

    table_learns_from_adversarial: bool = MISSING
    awp_gamma: float = number(0)
    awp_warmup: int = number(0)
    attack: Group[AttackConfig] = MISSING


@dataclass
class AdvTrainConfig(RobustConfig):
    name: str = "advtrain"


@dataclass
class TradesConfig(RobustConfig):
    name: str = "trades"
    beta: float = number(0)


@dataclass
class MartConfig(RobustConfig):
    name: str = "mart"
    beta: float = number(0)


@dataclass
class TenetConfig(RegimeConfig):
    name: str = "tenet"
    groups: int = number(2)
    weight: float = number(0)
    orthogonality: float = number(0)
    from_step: int = number(0)
    every: int = number(1)
    augmented: bool = MISSING
    magnitude: float = number(0.1, 10)
    view_rounding: str = choice("reference", "floor", "nearest")

    @property
    def needs_stages(self) -> str | None:
        """Its second step starts from the input of the last stage."""
        return f"regime={self.name}"

    @property
    def first_second_step(self) -> int:
        """The batch, counted from 1, that is the first to have a second optimizer step."""
        return -(-max(self.from_step, 1) // self.every) * self.every


@dataclass
class NoisyMixConfig(RegimeConfig):
    name: str = "noisymix"
    alpha: float = number(0)
    stages: int = number(0)
    multiplicative: float = number(0)
    additive: float = number(0)
    noise_off: float = number(0, 1)
    alpha_jsd: float = number(0)
    magnitude: float = number(0.1, 10)
    view_rounding: str = choice("reference", "floor", "nearest")

    @property
    def needs_stages(self) -> str | None:
        """Mixing at the readers' features alone needs none."""
        return f"regime=noisymix with regime.stages={self.stages}" if self.stages else None


@dataclass
class FPDConfig(RegimeConfig):
    name: str = "fpd"
    noise: Any = MISSING  # a whole number of levels
    threshold: float = number(above=0)
    second_weight: float = number(0)


@dataclass
class MixingConfig(RegimeConfig):
    name: str = "mixing"
    targets: int = number(0)
    radius_low: float = number(0, 2)
    radius_high: float = number(0, 2)
    gate_loss_high: float = number(0, 1)
    bce: float = number(0)
    ce: float = number(0)
    product: float = number(0)
    clean_scale: float = number(above=0)
    attack: Group[AttackConfig] = MISSING
