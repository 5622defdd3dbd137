"""Keys of ``model=``."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from p2be_exp.config.fields import choice, path
from p2be_exp.config.published_networks import PUBLISHED_NETWORKS
from p2be_exp.config.schema.encoding import EncodingConfig


@dataclass
class ModelConfig:
    """What every kind of model has."""

    name: str = MISSING

    def encoding_names(self, encoding: EncodingConfig) -> tuple[str, ...]:
        """Names of the encodings that its readers look levels up in, from the option that the configuration chooses."""
        return (encoding.name,)


@dataclass
class PlainModelConfig(ModelConfig):
    name: str = "plain"


@dataclass
class PublishedModelConfig(ModelConfig):
    """A network of the literature; it reads RGB."""

    name: str = "published"
    network: str | None = choice(*PUBLISHED_NETWORKS, None)
    weights: str | None = path()

    def encoding_names(self, encoding: EncodingConfig) -> tuple[str, ...]:
        """RGB alone."""
        return ("rgb",)
