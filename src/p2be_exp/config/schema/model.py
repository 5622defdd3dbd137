"""Keys of ``model=``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from p2be_exp.config.fields import number, path
from p2be_exp.config.schema.encoding import EncodingConfig


@dataclass
class ModelConfig:
    """What every kind of model has."""

    name: str = MISSING

    @property
    def roles(self) -> tuple[str, ...]:
        """The keys that name the runs which it is made of; encoding and backbone are then theirs."""
        return ()

    @property
    def parts(self) -> Any:
        """By role, the groups of the runs that it is made of, as :mod:`p2be_exp.config.parts` fills them in."""
        return None

    def part_encodings(self) -> dict[str, tuple[str, ...]]:
        """Names of the encodings of each of its parts, by role, in the order of its readers; empty without parts."""
        return {}

    def encoding_names(self, encoding: EncodingConfig) -> tuple[str, ...]:
        """Names of the encodings that its readers look levels up in, from the option that the configuration chooses."""
        return (encoding.name,)


@dataclass
class PlainModelConfig(ModelConfig):
    name: str = "plain"


@dataclass
class MixtureConfig(ModelConfig):
    """Base of the models that are made of an accurate run and a robust one."""

    accurate: str | None = path()
    robust: str | None = path()
    accurate_scale: float = number(above=0)
    robust_scale: float = number(above=0)
    parts: Any = MISSING  # null at first

    @property
    def roles(self) -> tuple[str, ...]:
        """Its two parts."""
        return ("accurate", "robust")

    def encoding_names(self, encoding: EncodingConfig) -> tuple[str, ...]:
        """The robust part's, then the accurate part's, once they are known."""
        return sum(self.part_encodings().values(), ()) or (encoding.name,)

    def part_encodings(self) -> dict[str, tuple[str, ...]]:
        """See :class:`ModelConfig`."""
        if self.parts is None:
            return {}
        return {role: (self.parts[role]["encoding"]["name"],) for role in ("robust", "accurate")}


@dataclass
class MixModelConfig(MixtureConfig):
    name: str = "mix"
    alpha: float = number(0, 1)
