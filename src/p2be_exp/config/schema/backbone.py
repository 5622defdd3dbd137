"""Keys of ``backbone=``."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from p2be_exp.config.fields import choice, path


@dataclass
class BackboneConfig:
    """Base of every backbone."""

    name: str = MISSING

    @property
    def weights(self) -> str | None:
        """File of published weights to start from."""
        return None


@dataclass
class PretrainableBackboneConfig(BackboneConfig):
    weights: str | None = path()


@dataclass
class ResidualBackboneConfig(BackboneConfig):
    activation: str = choice("relu", "elu")


@dataclass
class PretrainableResidualBackboneConfig(PretrainableBackboneConfig):
    activation: str = choice("relu", "elu")
