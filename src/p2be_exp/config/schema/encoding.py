"""Keys of ``encoding=``."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from p2be_exp.config.fields import choice, number, path


@dataclass
class EncodingConfig:
    """Base of every encoding."""

    name: str = MISSING

    @property
    def M(self) -> int | None:  # noqa: N802  # the paper's letter
        """Number of columns of its table; None if it is fixed."""
        return None

    @property
    def lambda_smooth(self) -> float:
        """Weight of the smoothness loss."""
        return 0.0

    @property
    def smoothness(self) -> str | None:
        """Reduction of the smoothness loss of its table; None if it has none."""
        return None

    @property
    def table_from(self) -> str | None:
        """A run whose table is loaded and kept fixed."""
        return None


@dataclass
class RGBConfig(EncodingConfig):
    name: str = "rgb"


@dataclass
class OneHotConfig(EncodingConfig):
    name: str = "onehot"
    M: int = number(1, 256)


@dataclass
class ThermometerConfig(EncodingConfig):
    name: str = "thermometer"
    M: int = number(1, 256)


@dataclass
class P2BEConfig(EncodingConfig):
    name: str = "p2be"
    M: int = number(1, 1024)
    lambda_smooth: float = number(0)
    smoothness: str = choice("mean", "sum")
    slope_at_zero: float = choice(2.0, 4.0)
    init: str = choice("normal", "onehot", "thermometer")
    table_from: str | None = path()
