"""Training regimes by name."""

from __future__ import annotations

from typing import Any

from p2be_exp.attacks import build_attack
from p2be_exp.augment import augmentation_of
from p2be_exp.regimes.advtrain import AdvTrain
from p2be_exp.regimes.augmix import AugMixRegime
from p2be_exp.regimes.contrain import ConTrain
from p2be_exp.regimes.regime import Regime, RegimeLoss
from p2be_exp.regimes.standard import Standard

__all__ = ["AdvTrain", "AugMixRegime", "ConTrain", "Regime", "RegimeLoss", "Standard", "build_regime", "list_regimes"]

_REGIMES: dict[str, type[Regime]] = {cls.name: cls for cls in (Standard, AugMixRegime, ConTrain, AdvTrain)}


def list_regimes() -> list[str]:
    """Names of the regimes that there are."""
    return sorted(_REGIMES)


def build_regime(config: dict[str, Any], seed: int, augmentation: str) -> Regime:
    """The regime that a configuration's ``regime`` group describes, with the geometric augmentation of its data set."""
    settings = {key: value for key, value in config.items() if key != "name"}
    if "attack" in settings:
        settings["attack"] = build_attack(settings["attack"], settings["attack"]["eps_levels"], training=True)
    return _REGIMES[config["name"]](seed=seed, augment=augmentation_of(augmentation), **settings)
