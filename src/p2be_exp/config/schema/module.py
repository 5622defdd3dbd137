"""Of a network that no configuration describes: what an evaluation needs of one all the same."""

from __future__ import annotations

from dataclasses import dataclass

from p2be_exp.config.schema.encoding import EncodingConfig
from p2be_exp.config.schema.model import ModelConfig


@dataclass
class ModuleConfig(ModelConfig):
    """Anybody's module; it is never in a file."""

    name: str = "module"
    encodings: tuple[str, ...] = ("rgb",)

    def encoding_names(self, encoding: EncodingConfig) -> tuple[str, ...]:
        """Names of the encodings that it reads."""
        return self.encodings
