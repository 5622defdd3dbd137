"""The schema of every option, and the base class of every group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from p2be_exp.config.schema.attack import AttackChoice
from p2be_exp.config.schema.backbone import BackboneConfig
from p2be_exp.config.schema.corruption import CorruptionConfig
from p2be_exp.config.schema.dataset import DatasetConfig
from p2be_exp.config.schema.encoding import EncodingConfig
from p2be_exp.config.schema.logger import LoggerConfig
from p2be_exp.config.schema.model import ModelConfig
from p2be_exp.config.schema.optim import OptimConfig
from p2be_exp.config.schema.preset import PresetConfig
from p2be_exp.config.schema.regime import RegimeConfig
from p2be_exp.config.schema.trainer import TrainerConfig
from p2be_exp.registry import OPTIONS


class _Schemas(Mapping[str, dict[str, type[Any]]]):
    def __getitem__(self, group: str) -> dict[str, type[Any]]:
        return {name: option.keys() for name, option in OPTIONS[group].items()}

    def __iter__(self) -> Iterator[str]:
        return iter(OPTIONS)

    def __len__(self) -> int:
        return len(OPTIONS)


GROUP_SCHEMAS = _Schemas()
"""The schema of every option of every group, by group and option name, as the registry has them now."""

GROUP_BASES: dict[str, type[Any]] = {
    "encoding": EncodingConfig,
    "backbone": BackboneConfig,
    "model": ModelConfig,
    "dataset": DatasetConfig,
    "regime": RegimeConfig,
    "attack": AttackChoice,
    "corruption": CorruptionConfig,
    "optim": OptimConfig,
    "trainer": TrainerConfig,
    "logger": LoggerConfig,
    "preset": PresetConfig,
}
"""The base class of every option of a group, by group."""

SEVERAL = ("logger",)
"""Groups of which any number of options is chosen: ``GROUP=[NAME,NAME]``, with the keys ``GROUP.NAME.KEY``."""
