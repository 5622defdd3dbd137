"""Training regimes by name."""

from __future__ import annotations

from typing import Any

from p2be_exp.regimes.augmix import AugMixRegime
from p2be_exp.regimes.regime import Regime, RegimeLoss
from p2be_exp.regimes.standard import Standard

__all__ = ["AugMixRegime", "Regime", "RegimeLoss", "Standard", "build_regime", "list_regimes"]

_REGIMES: dict[str, type[Regime]] = {cls.name: cls for cls in (Standard, AugMixRegime)}


def list_regimes() -> list[str]:
    """Names of the regimes that there are."""
    return sorted(_REGIMES)


def build_regime(config: dict[str, Any], seed: int) -> Regime:
    """The regime that a configuration's ``regime`` group describes."""
    settings = {key: value for key, value in config.items() if key != "name"}
    return _REGIMES[config["name"]](seed=seed, **settings)
