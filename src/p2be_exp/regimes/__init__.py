"""Training regimes by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2be_exp.attacks import build_attack
from p2be_exp.augment import augmentation_of
from p2be_exp.regimes.advtrain import AdvTrain
from p2be_exp.regimes.augmix import AugMixRegime
from p2be_exp.regimes.contrain import ConTrain
from p2be_exp.regimes.mart import Mart
from p2be_exp.regimes.noisymix import NoisyMix
from p2be_exp.regimes.regime import Regime, RegimeLoss, When
from p2be_exp.regimes.standard import Standard
from p2be_exp.regimes.tenet import Tenet
from p2be_exp.regimes.trades import Trades
from p2be_exp.registry import built, option
from p2be_exp.system.collectives import sum_over_ranks

if TYPE_CHECKING:
    from p2be_exp.config.schema import RegimeConfig

__all__ = [
    "AdvTrain",
    "AugMixRegime",
    "ConTrain",
    "Mart",
    "NoisyMix",
    "Regime",
    "RegimeLoss",
    "Standard",
    "Tenet",
    "Trades",
    "When",
    "build_regime",
    "list_regimes",
    "sum_over_ranks",
]


def list_regimes() -> list[str]:
    """Names of all regimes."""
    return built("regime")


def build_regime(config: RegimeConfig, seed: int, augmentation: str) -> Regime:
    """The regime of a configuration's ``regime`` group, with the geometric augmentation of the data set."""
    settings = {key: value for key, value in vars(config).items() if key != "name"}
    if config.attack is not None:
        settings["attack"] = build_attack(config.attack, config.attack.eps_levels, training=True)
    return option("regime", config.name).build(seed=seed, augment=augmentation_of(augmentation), **settings)
