"""Keys of the commands: the groups that each has, and keys of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from p2be_exp.config.fields import checkpoint, choice, number, path
from p2be_exp.config.published_networks import PUBLISHED_NETWORKS
from p2be_exp.config.schema.attack import AttackChoice
from p2be_exp.config.schema.backbone import BackboneConfig
from p2be_exp.config.schema.corruption import CorruptionConfig
from p2be_exp.config.schema.dataset import DatasetConfig
from p2be_exp.config.schema.encoding import EncodingConfig
from p2be_exp.config.schema.logger import LoggerConfig
from p2be_exp.config.schema.model import ModelConfig
from p2be_exp.config.schema.optim import OptimConfig
from p2be_exp.config.schema.option import Group, Groups
from p2be_exp.config.schema.preset import PresetConfig
from p2be_exp.config.schema.regime import RegimeConfig
from p2be_exp.config.schema.trainer import TrainerConfig


@dataclass
class TrainConfig:
    encoding: Group[EncodingConfig] = MISSING
    backbone: Group[BackboneConfig] = MISSING
    model: Group[ModelConfig] = MISSING
    dataset: Group[DatasetConfig] = MISSING
    regime: Group[RegimeConfig] = MISSING
    attack: Group[AttackChoice] = MISSING
    corruption: Group[CorruptionConfig] = MISSING
    optim: Group[OptimConfig] = MISSING
    trainer: Group[TrainerConfig] = MISSING
    logger: Groups[LoggerConfig] = field(default_factory=dict)  # none is chosen by logger=[]
    preset: Group[PresetConfig] = MISSING
    task_name: str = MISSING
    seed: int = number(0, 2**32 - 1)
    epochs: int = number(1)
    batch_size: int = number(1)
    eval_batch_size: int | None = number(1)
    limit_train: int | None = number(1)
    limit_test: int | None = number(1)
    limit_attack: int | None = number(1)
    data_dir: str = path()
    watch_every: int = number(0)
    figures: list[str] = choice("png", "pdf", "svg")
    checkpoint_every: int = number(0)
    early_stop: int = number(0)
    departs_from_paper: str | None = MISSING
    resume: str | None = path()
    plugins: list[str] = MISSING
    strict_plugins: bool = MISSING
    sweeps: str | None = MISSING
    scale: str = choice("full", "small")
    dry_run: bool = MISSING

    @property
    def network(self) -> str:
        """What the network of its model is called, for people: the backbone, or a published network."""
        return self.model.network_name(self.backbone.name)

    @property
    def encoding_names(self) -> tuple[str, ...]:
        """Names of the encodings that its model looks levels up in."""
        return self.model.encoding_names(self.encoding)


@dataclass
class EvaluateConfig:
    run: str = path()
    name: str | None = MISSING
    out: str | None = path()
    checkpoint: str = checkpoint()
    attack: Group[AttackChoice] = MISSING
    corruption: Group[CorruptionConfig] = MISSING
    trainer: Group[TrainerConfig] = MISSING
    seed: int = number(0, 2**32 - 1)
    eval_batch_size: int | None = number(1)
    limit_test: int | None = number(1)
    figures: list[str] = choice("png", "pdf", "svg")
    data_dir: str | None = path()
    dataset_dir: str | None = path()
    dataset_workers: int | None = number(0)
    dataset_timeout: float | None = number(above=0)
    plugins: list[str] = MISSING
    strict_plugins: bool = MISSING


@dataclass
class EvaluateModelConfig:
    name: str | None = MISSING
    out: str | None = path()
    dataset: Group[DatasetConfig] = MISSING
    attack: Group[AttackChoice] = MISSING
    corruption: Group[CorruptionConfig] = MISSING
    trainer: Group[TrainerConfig] = MISSING
    seed: int = number(0, 2**32 - 1)
    eval_batch_size: int | None = number(1)
    limit_test: int | None = number(1)
    figures: list[str] = choice("png", "pdf", "svg")
    data_dir: str = path()
    plugins: list[str] = MISSING
    strict_plugins: bool = MISSING


@dataclass
class CorruptionsConfig:
    dataset: Group[DatasetConfig] = MISSING
    folder: str | None = path()
    size: int | None = number(8)
    out: str | None = path()
    names: Any = MISSING
    severities: list[int] = number(1, 5)
    seed: int = number(0, 2**32 - 1)
    frost_dir: str | None = path()
    workers: int | None = number(1)
    limit_test: int | None = number(1)
    image: int = number(0)
    data_dir: str = path()


@dataclass
class ExportConfig:
    run: str = path()
    format: str = choice("torch_export", "onnx", "hub")
    out: str | None = path()
    checkpoint: str = checkpoint()
    evaluation: str | None = MISSING
    license: str | None = MISSING
    batch: Any = MISSING  # dynamic, or a number
    overwrite: bool = MISSING
    plugins: list[str] = MISSING
    strict_plugins: bool = MISSING


@dataclass
class PublishedConfig:
    network: str | None = choice(*PUBLISHED_NETWORKS, None)
    weights: str | None = path()


@dataclass
class TrackingConfig:
    project: str | None = MISSING
    entity: str | None = MISSING
    name: str = MISSING
    dry_run: bool = MISSING


COMMAND_SCHEMAS: dict[str, type[Any]] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "evaluate_model": EvaluateModelConfig,
    "corruptions": CorruptionsConfig,
    "export": ExportConfig,
    "published": PublishedConfig,
    "tracking": TrackingConfig,
}
"""The configuration of every command, by command; ``evaluate.py`` has one for runs and one for anybody's models."""
