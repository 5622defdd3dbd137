"""Schemas of every option: types and ranges. The defaults are in ``conf/`` only.

A YAML file names its schema in its defaults list (``/schema/GROUP/NAME@_here_``), so an unknown key or a value of the
wrong type is refused while the configuration is composed; ranges are checked by :mod:`p2be_exp.config.typed`, which
makes a composed or stored configuration into an object of these classes.

Each group has a base class, :data:`GROUP_BASES`. A key that common code reads but only some options have is a property
of the base, with the value that applies to the other options; it is not a field of the base, so these options do not
have the key.
"""

from p2be_exp.config.schema.attack import (
    AttackChoice,
    AttackConfig,
    AutoAttackConfig,
    FoolboxConfig,
    LSPGAConfig,
    NoAttackConfig,
    PGDConfig,
    RandomInBallConfig,
    SquareConfig,
    SuiteConfig,
    TorchattacksConfig,
    TransferConfig,
)
from p2be_exp.config.schema.backbone import (
    BackboneConfig,
    PretrainableBackboneConfig,
    PretrainableResidualBackboneConfig,
    ResidualBackboneConfig,
)
from p2be_exp.config.schema.commands import (
    COMMAND_SCHEMAS,
    CorruptionsConfig,
    EvaluateConfig,
    EvaluateModelConfig,
    ExportConfig,
    PublishedConfig,
    TrackingConfig,
    TrainConfig,
)
from p2be_exp.config.schema.corruption import (
    AutoCorruptionConfig,
    CifarCConfig,
    CorruptionConfig,
    GeneratedConfig,
    ImageNetCConfig,
    NoCorruptionConfig,
    OwnConfig,
    SomeCorruptionConfig,
)
from p2be_exp.config.schema.dataset import (
    DatasetConfig,
    DownloadableDatasetConfig,
    DownloadablePicturesConfig,
    FolderDatasetConfig,
    PicturesDatasetConfig,
)
from p2be_exp.config.schema.encoding import (
    EncodingConfig,
    OneHotConfig,
    P2BEConfig,
    RGBConfig,
    ThermometerConfig,
)
from p2be_exp.config.schema.groups import GROUP_BASES, GROUP_SCHEMAS, SEVERAL
from p2be_exp.config.schema.logger import (
    CSVLoggerConfig,
    LoggerConfig,
    TensorBoardLoggerConfig,
    WandbLoggerConfig,
)
from p2be_exp.config.schema.model import (
    NUTS_CONSTANTS,
    AdaptiveMixModelConfig,
    FPDModelConfig,
    MixModelConfig,
    MixtureConfig,
    ModelConfig,
    NutsMixModelConfig,
    PlainModelConfig,
    PublishedModelConfig,
)
from p2be_exp.config.schema.module import ModuleConfig
from p2be_exp.config.schema.optim import AdamConfig, AdamWConfig, OptimConfig, SGDConfig
from p2be_exp.config.schema.option import Group
from p2be_exp.config.schema.preset import PresetConfig
from p2be_exp.config.schema.regime import (
    AdvTrainConfig,
    AugMixConfig,
    ConTrainConfig,
    FPDConfig,
    MartConfig,
    MixingConfig,
    NoisyMixConfig,
    NoRegimeConfig,
    RegimeConfig,
    StandardConfig,
    TenetConfig,
    TradesConfig,
)
from p2be_exp.config.schema.store import register_schemas
from p2be_exp.config.schema.trainer import TrainerConfig

__all__ = [
    "COMMAND_SCHEMAS",
    "GROUP_BASES",
    "GROUP_SCHEMAS",
    "NUTS_CONSTANTS",
    "SEVERAL",
    "AdamConfig",
    "AdamWConfig",
    "AdaptiveMixModelConfig",
    "AdvTrainConfig",
    "AttackChoice",
    "AttackConfig",
    "AugMixConfig",
    "AutoAttackConfig",
    "AutoCorruptionConfig",
    "BackboneConfig",
    "CSVLoggerConfig",
    "CifarCConfig",
    "ConTrainConfig",
    "CorruptionConfig",
    "CorruptionsConfig",
    "DatasetConfig",
    "DownloadableDatasetConfig",
    "DownloadablePicturesConfig",
    "EncodingConfig",
    "EvaluateConfig",
    "EvaluateModelConfig",
    "ExportConfig",
    "FPDConfig",
    "FPDModelConfig",
    "FolderDatasetConfig",
    "FoolboxConfig",
    "GeneratedConfig",
    "Group",
    "ImageNetCConfig",
    "LSPGAConfig",
    "LoggerConfig",
    "MartConfig",
    "MixModelConfig",
    "MixingConfig",
    "MixtureConfig",
    "ModelConfig",
    "ModuleConfig",
    "NoAttackConfig",
    "NoCorruptionConfig",
    "NoRegimeConfig",
    "NoisyMixConfig",
    "NutsMixModelConfig",
    "OneHotConfig",
    "OptimConfig",
    "OwnConfig",
    "P2BEConfig",
    "PGDConfig",
    "PicturesDatasetConfig",
    "PlainModelConfig",
    "PresetConfig",
    "PretrainableBackboneConfig",
    "PretrainableResidualBackboneConfig",
    "PublishedConfig",
    "PublishedModelConfig",
    "RGBConfig",
    "RandomInBallConfig",
    "RegimeConfig",
    "ResidualBackboneConfig",
    "SGDConfig",
    "SomeCorruptionConfig",
    "SquareConfig",
    "StandardConfig",
    "SuiteConfig",
    "TenetConfig",
    "TensorBoardLoggerConfig",
    "ThermometerConfig",
    "TorchattacksConfig",
    "TrackingConfig",
    "TradesConfig",
    "TrainConfig",
    "TrainerConfig",
    "TransferConfig",
    "WandbLoggerConfig",
    "register_schemas",
]
