"""Schemas of every option: types and ranges. The default values stand in ``conf/``, once.

A YAML file names its schema in its defaults list (``/schema/GROUP/NAME@_here_``), so an unknown key or a value of the
wrong type is refused while the configuration is composed; ranges are checked by :mod:`p2be_exp.config.typed`, which
makes a composed or stored configuration into an object of these classes.

Each group has a base class, :data:`GROUP_BASES`. A key that common code reads and only some options have is a property
of the base, with the value that the other options stand for; it is no field there, so that these options do not have
the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from p2be_exp.config.fields import choice, number, path
from p2be_exp.registry import OPTIONS

if TYPE_CHECKING:
    Base = TypeVar("Base")
    Group = Annotated[Base, "an option of a group"]
else:

    class Group:
        """The type of a key that holds an option of a group: its base class to a reader and to a type checker.

        To OmegaConf it is any node, so that a plug-in's schema need not be derived from the base.
        """

        def __class_getitem__(cls, base: type) -> Any:
            return Any


# -- encoding -----------------------------------------------------------------------------------------------------


@dataclass
class EncodingConfig:
    """What every encoding has."""

    name: str = MISSING

    @property
    def M(self) -> int | None:  # noqa: N802  # the paper's letter
        """Columns of its table; None where there is no choice."""
        return None

    @property
    def lambda_smooth(self) -> float:
        """Weight of the smoothness loss."""
        return 0.0

    @property
    def smoothness(self) -> str | None:
        """How the smoothness of its table is summed up; None where it has none."""
        return None

    @property
    def table_from(self) -> str | None:
        """A run whose table is taken and kept fixed."""
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


# -- backbone, data set -------------------------------------------------------------------------------------------


@dataclass
class BackboneConfig:
    """What every backbone has."""

    name: str = MISSING

    @property
    def weights(self) -> str | None:
        """A file of published weights to start from."""
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


@dataclass
class DatasetConfig:
    """What every data set has."""

    name: str = MISSING
    val_size: int = number(0)
    split_seed: int = number(0)
    augmentation: str = choice("flip_crop", "crop", "none")

    @property
    def download(self) -> bool:
        """Whether it is downloaded where it is missing."""
        return False

    @property
    def dir(self) -> str | None:
        """The folder of pictures that the user has named."""
        return None

    @property
    def image_size(self) -> int | None:
        """Height and width that its pictures are cut to; None where its images have a size of their own."""
        return None


@dataclass
class DownloadableDatasetConfig(DatasetConfig):
    download: bool = MISSING


@dataclass
class PicturesDatasetConfig(DatasetConfig):
    augmentation: str = choice("resized_crop", "flip_crop", "crop", "none")
    image_size: int = number(8, 4096)
    resized: int = number(8, 8192)
    workers: int | None = number(0)
    timeout: float | None = number(above=0)


@dataclass
class FolderDatasetConfig(PicturesDatasetConfig):
    dir: str | None = path()


@dataclass
class Caltech101Config(PicturesDatasetConfig):
    download: bool = MISSING


# -- regime -------------------------------------------------------------------------------------------------------


@dataclass
class RegimeConfig:
    """What every regime has."""

    name: str = MISSING

    @property
    def attack(self) -> AttackConfig | None:
        """The attack that it trains against."""
        return None


@dataclass
class StandardConfig(RegimeConfig):
    name: str = "standard"


@dataclass
class AugMixConfig(RegimeConfig):
    name: str = "augmix"
    alpha_jsd: float = number(0)
    magnitude: float = number(0.1, 10)
    view_rounding: str = choice("reference", "floor", "nearest")


@dataclass
class ConTrainConfig(RegimeConfig):
    name: str = "contrain"
    alpha_jsd: float = number(0)
    table_learns_from_adversarial: bool = MISSING
    attack: Group[AttackConfig] = MISSING


@dataclass
class AdvTrainConfig(RegimeConfig):
    name: str = "advtrain"
    table_learns_from_adversarial: bool = MISSING
    attack: Group[AttackConfig] = MISSING


# -- evaluation conditions besides the clean images ---------------------------------------------------------------


@dataclass
class CorruptionConfig:
    """What every source of corrupted images has, none included."""

    name: str = MISSING

    @property
    def dir(self) -> str | None:
        """The folder of the images that the user has named."""
        return None

    @property
    def seed(self) -> int:
        """Of images that are made here."""
        return 0

    @property
    def frost_dir(self) -> str | None:
        """The folder of frost's textures that the user has named."""
        return None

    @property
    def crop(self) -> str:
        """How the pictures of ImageNet-C become images."""
        return "center"

    @property
    def workers(self) -> int | None:
        """Threads that make or processes that decode images; None: one a core."""
        return None


@dataclass
class NoCorruptionConfig(CorruptionConfig):
    name: str = "none"


@dataclass
class SomeCorruptionConfig(CorruptionConfig):
    """What every source has that has images."""

    names: Any = MISSING
    severities: list[int] = number(1, 5)


@dataclass
class CifarCConfig(SomeCorruptionConfig):
    dir: str | None = path()


@dataclass
class OwnConfig(SomeCorruptionConfig):
    dir: str | None = path()


@dataclass
class ImageNetCConfig(SomeCorruptionConfig):
    dir: str | None = path()
    crop: str = choice("center", "resize")
    workers: int | None = number(0)


@dataclass
class GeneratedConfig(SomeCorruptionConfig):
    dir: str | None = path()
    seed: int = number(0, 2**32 - 1)
    frost_dir: str | None = path()
    workers: int | None = number(1)


@dataclass
class AutoCorruptionConfig(SomeCorruptionConfig):
    seed: int = number(0, 2**32 - 1)
    frost_dir: str | None = path()
    crop: str = choice("center", "resize")
    workers: int | None = number(1)


@dataclass
class AttackChoice:
    """What every option of the group has, none included."""

    name: str = MISSING

    @property
    def radii(self) -> list[int]:
        """The radii in levels."""
        return []

    @property
    def save_images(self) -> bool:
        """Whether adversarial images are kept with the results."""
        return False

    @property
    def source(self) -> str | None:
        """A run to transfer from."""
        return None

    @property
    def gradient(self) -> str | None:
        """The surrogate that the user has chosen."""
        return None


@dataclass
class NoAttackConfig(AttackChoice):
    name: str = "none"


@dataclass
class AttackConfig(AttackChoice):
    """What every attack has; an attack's own schema inherits it."""

    name: str = MISSING
    eps_levels: Any = MISSING  # a whole number of levels, or a list of them
    save_images: bool = MISSING

    @property
    def radii(self) -> list[int]:
        """The radii in levels."""
        return list(self.eps_levels) if isinstance(self.eps_levels, list) else [self.eps_levels]


@dataclass
class LSPGAConfig(AttackConfig):
    steps: int = number(1)
    xi: float = number(above=0)
    delta: float = number(above=0)
    anneal: str = choice("soften", "sharpen")
    step_rule: str = choice("sign", "raw")
    init: str = choice("normal", "zero")
    restarts: int = number(1, 1000)


@dataclass
class PGDConfig(AttackConfig):
    gradient: str = choice("secant", "smooth", "interpolate")
    loss: str = choice("ce", "margin")
    steps: int = number(1)
    restarts: int = number(1, 1000)


@dataclass
class RandomInBallConfig(AttackConfig):
    restarts: int = number(1, 1000)


@dataclass
class SquareConfig(AttackConfig):
    queries: int = number(1)
    restarts: int = number(1, 1000)


@dataclass
class TransferConfig(AttackConfig):
    source: str | None = path()
    steps: int = number(1)
    restarts: int = number(1, 1000)


@dataclass
class SuiteConfig(AttackConfig):
    steps: int = number(1)
    restarts: int = number(1, 1000)
    queries: int = number(1)
    source: str | None = path()


# -- optimization, trainer, logger, preset ------------------------------------------------------------------------


@dataclass
class OptimConfig:
    lr: float = number(above=0)
    schedule: str = choice("cosine", "steps")
    milestones: list[int] = number(1)
    gamma: float = number(above=0, high=1)
    momentum: float = number(0, 1)
    nesterov: bool = MISSING
    weight_decay: float = number(0)
    lr_end: float = number(0)
    table_lr: float = number(above=0)
    table_betas: list[float] = number(0, 1)
    table_weight_decay: float = number(0)
    table_schedule: str = choice("cosine", "constant")
    clip_norm: float | None = number(above=0)
    accumulate: int = number(1)


@dataclass
class TrainerConfig:
    name: str = MISSING
    accelerator: str = choice("auto", "cpu", "gpu")
    devices: int = number(1)
    num_nodes: int = number(1)
    strategy: str = choice("auto", "ddp")
    precision: str = choice("auto", "32", "bf16")
    sync_batchnorm: bool = MISSING
    timeout: float = number(above=0)
    progress: bool = MISSING


@dataclass
class LoggerConfig:
    """What every logger has."""

    name: str = MISSING

    @property
    def log_every_n_steps(self) -> int | None:
        """Steps between two that are logged; None where only epochs are."""
        return None


@dataclass
class CSVLoggerConfig(LoggerConfig):
    name: str = "csv"


@dataclass
class WandbLoggerConfig(LoggerConfig):
    name: str = "wandb"
    project: str = MISSING
    entity: str | None = MISSING
    mode: str = choice("online", "offline")
    group: str | None = MISSING
    tags: list[str] = MISSING
    log_every_n_steps: int = number(1)


@dataclass
class TensorBoardLoggerConfig(LoggerConfig):
    name: str = "tensorboard"
    log_every_n_steps: int = number(1)


@dataclass
class PresetConfig:
    """Switches that the groups interpolate, so that a preset or an experiment sets no key of an option not chosen.

    One for each point where the reference code and the paper differ, the table's initialisation, and what the paper
    chooses by data set.
    """

    name: str = MISSING
    smoothness: str = choice("mean", "sum")
    slope_at_zero: float = choice(2.0, 4.0)
    init: str = choice("normal", "onehot", "thermometer")
    nesterov: bool = MISSING
    lr_end: float = number(0)
    table_schedule: str = choice("cosine", "constant")
    table_learns_from_adversarial: bool = MISSING
    lambda_smooth: float = number(0)
    magnitude: float = number(0.1, 10)
    view_rounding: str = choice("reference", "floor", "nearest")


# -- the commands -------------------------------------------------------------------------------------------------


@dataclass
class TrainConfig:
    encoding: Group[EncodingConfig] = MISSING
    backbone: Group[BackboneConfig] = MISSING
    dataset: Group[DatasetConfig] = MISSING
    regime: Group[RegimeConfig] = MISSING
    attack: Group[AttackChoice] = MISSING
    corruption: Group[CorruptionConfig] = MISSING
    optim: Group[OptimConfig] = MISSING
    trainer: Group[TrainerConfig] = MISSING
    logger: Group[LoggerConfig] = MISSING
    preset: Group[PresetConfig] = MISSING
    task_name: str = MISSING
    seed: int = number(0, 2**32 - 1)
    epochs: int = number(1)
    batch_size: int = number(1)
    eval_batch_size: int | None = number(1)
    limit_train: int | None = number(1)
    limit_test: int | None = number(1)
    data_dir: str = path()
    watch_every: int = number(0)
    departs_from_paper: str | None = MISSING
    resume: str | None = path()
    plugins: list[str] = MISSING
    strict_plugins: bool = MISSING
    sweeps: str | None = MISSING
    scale: str = choice("full", "small")
    dry_run: bool = MISSING


@dataclass
class EvaluateConfig:
    run: str = path()
    name: str | None = MISSING
    out: str | None = path()
    checkpoint: str = choice("last", "best")
    attack: Group[AttackChoice] = MISSING
    corruption: Group[CorruptionConfig] = MISSING
    trainer: Group[TrainerConfig] = MISSING
    seed: int = number(0, 2**32 - 1)
    eval_batch_size: int | None = number(1)
    limit_test: int | None = number(1)
    data_dir: str | None = path()
    dataset_dir: str | None = path()
    dataset_workers: int | None = number(0)
    dataset_timeout: float | None = number(above=0)
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
    format: str = choice("torch_export", "onnx")
    out: str | None = path()
    checkpoint: str = choice("last", "best")
    batch: Any = MISSING  # dynamic, or a number
    overwrite: bool = MISSING
    plugins: list[str] = MISSING
    strict_plugins: bool = MISSING


@dataclass
class TrackingConfig:
    project: str = MISSING
    entity: str | None = MISSING
    name: str = MISSING
    dry_run: bool = MISSING


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

COMMAND_SCHEMAS: dict[str, type[Any]] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "corruptions": CorruptionsConfig,
    "export": ExportConfig,
    "tracking": TrackingConfig,
}


def register_schemas() -> None:
    """Make the schemas known to Hydra; doing it twice is harmless."""
    store = ConfigStore.instance()
    for name, schema in COMMAND_SCHEMAS.items():
        store.store(group="schema", name=name, node=schema)
    for group, options in GROUP_SCHEMAS.items():
        for name, schema in options.items():
            store.store(group=f"schema/{group}", name=name, node=schema)
