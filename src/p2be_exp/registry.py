"""Every option by name: the schema of its keys, the class that it stands for, and what it serves.

An option of this package is one line here and one YAML file in ``conf/``. Schemas and classes are given as strings
and imported on first use, so this module imports none of the other packages and each of them may import it.
Options from outside are added by :func:`register`.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

from p2be_exp.errors import BadInput

Serves = Literal["all", "bucketed", "unbucketed"]


@dataclass(frozen=True)
class Option:
    """An option of a group.

    Attributes:
        schema: dataclass of its keys, or its name in :mod:`p2be_exp.config.schema`.
        makes: the class, or a function that returns an instance; or its location, ``PACKAGE.MODULE:NAME``. None for an
            option that is only read, not built.
        settings: arguments implied by the name, in addition to those of the schema.
        buckets: of an encoding: whether levels share codes by construction.
        serves: of an attack: the encodings that it supports; ``bucketed`` are those with buckets.
        trains: of an attack: whether a regime may train against it.
        preset_of: the option of the group that this one is with other values, whose name it has in a configuration.
        several_steps: of a regime: whether it may take several optimizer steps per batch.
        staged: of a backbone: whether it can be taken apart into stages.
        regime: of a model: the one regime that it goes with; "" for any that trains a model from its start.
        nearest: of an attack: the location of the class for its methods that look for the nearest wrong image, and so
            have a distance in the place of a radius; "" for none.
        regimes: of a model: the regimes of this package that it goes with, where there are several but not all.
        model: of a regime: the one model that it trains; "" for any.
        library: a module that it needs and that this package does not require; "" for none.
        owner: the plug-in module that registered it; "" for an option of this package.
    """

    schema: str | type
    makes: str | Callable[..., Any] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    buckets: bool = False
    serves: Serves = "all"
    trains: bool = False
    preset_of: str = ""
    several_steps: bool = False
    staged: bool = False
    regime: str = ""
    nearest: str = ""
    regimes: tuple[str, ...] = ()
    model: str = ""
    library: str = ""
    owner: str = ""

    def keys(self) -> type:
        """The dataclass of its keys."""
        return _imported(f"config.schema:{self.schema}") if isinstance(self.schema, str) else self.schema

    def factory(self) -> Any:
        """The class or function that makes it, without the arguments implied by its name."""
        return _imported(self.makes) if isinstance(self.makes, str) else self.makes

    def build(self, *arguments: Any, **settings: Any) -> Any:
        """An instance of its class."""
        return self.factory()(*arguments, **self.settings, **settings)

    def build_nearest(self, *arguments: Any, **settings: Any) -> Any:
        """An instance of the class for methods that look for the nearest wrong image."""
        return _imported(self.nearest)(*arguments, **settings)


_TRUNK, _RESIDUAL = "BackboneConfig", "ResidualBackboneConfig"
_DENSENET, _RESNEXT, _WIDE = (
    "backbones.densenet:DenseNet",
    "backbones.resnext:ResNeXt",
    "backbones.wide_resnet:WideResNet",
)

OPTIONS: dict[str, dict[str, Option]] = {
    "encoding": {
        "rgb": Option("RGBConfig", "encodings.rgb:RGB"),
        "onehot": Option("OneHotConfig", "encodings.buckets:OneHot", buckets=True),
        "thermometer": Option("ThermometerConfig", "encodings.buckets:Thermometer", buckets=True),
        "p2be": Option("P2BEConfig", "encodings.p2be:P2BE.from_settings"),
    },
    "backbone": {
        "wrn40_2": Option(_RESIDUAL, _WIDE, {"depth": 40, "widen": 2}, staged=True),
        "wrn16_1": Option(_RESIDUAL, _WIDE, {"depth": 16, "widen": 1}, staged=True),
        "densenet_bc_100_12": Option(
            _TRUNK, _DENSENET, {"depth": 100, "growth": 12, "bottleneck": True, "reduction": 0.5}, staged=True
        ),
        "densenet40_12": Option(
            _TRUNK, _DENSENET, {"depth": 40, "growth": 12, "bottleneck": False, "reduction": 1.0}, staged=True
        ),
        "densenet40_24": Option(
            _TRUNK, _DENSENET, {"depth": 40, "growth": 24, "bottleneck": False, "reduction": 1.0}, staged=True
        ),
        "resnext29_4x32d": Option(_RESIDUAL, _RESNEXT, {"groups": 4, "width": 32}, staged=True),
        "resnext29_32x4d": Option(_RESIDUAL, _RESNEXT, {"groups": 32, "width": 4}, staged=True),
        "allconv": Option(_TRUNK, "backbones.allconv:AllConv"),
        "resnet18": Option(_RESIDUAL, "backbones.resnet:ResNet18", staged=True),
        "resnet50": Option("PretrainableResidualBackboneConfig", "backbones.resnet:ResNet50", staged=True),
        "alexnet": Option("PretrainableBackboneConfig", "backbones.alexnet:AlexNet"),
    },
    "model": {
        "plain": Option("PlainModelConfig", "models.model:EncodedClassifier"),
        "fpd": Option(
            "FPDModelConfig",
            "models.pyramid:PyramidClassifier",
            regimes=("fpd", "standard", "contrain", "advtrain", "trades", "mart"),
        ),
        "mix": Option("MixModelConfig", "models.mixed:MixedClassifier", regime="none"),
        "adaptive_mix": Option(
            "AdaptiveMixModelConfig", "models.adaptive_mixed:AdaptiveMixedClassifier", regime="mixing"
        ),
        "nuts_mix": Option("NutsMixModelConfig", "models.nuts_mixed:NutsMixedClassifier", regime="none"),
        "published": Option("PublishedModelConfig", "models.published.classifier:PublishedClassifier", regime="none"),
    },
    "dataset": {
        "digits": Option("DatasetConfig", "data.digits:Digits"),
        "cifar10": Option("DownloadableDatasetConfig", "data.cifar:Cifar10"),
        "cifar100": Option("DownloadableDatasetConfig", "data.cifar:Cifar100"),
        "svhn": Option("DownloadableDatasetConfig", "data.svhn:Svhn"),
        "mnist": Option("DownloadableDatasetConfig", "data.mnist:Mnist"),
        "caltech101": Option("DownloadablePicturesConfig", "data.caltech101:Caltech101"),
        "caltech256": Option("DownloadablePicturesConfig", "data.caltech256:Caltech256"),
        "imagenet": Option("FolderDatasetConfig", "data.image_folder:ImageNet"),
        "image_folder": Option("FolderDatasetConfig", "data.image_folder:ImageFolder"),
    },
    "regime": {
        "standard": Option("StandardConfig", "regimes.standard:Standard"),
        "augmix": Option("AugMixConfig", "regimes.augmix:AugMixRegime"),
        "contrain": Option("ConTrainConfig", "regimes.contrain:ConTrain"),
        "advtrain": Option("AdvTrainConfig", "regimes.advtrain:AdvTrain"),
        "trades": Option("TradesConfig", "regimes.trades:Trades"),
        "mart": Option("MartConfig", "regimes.mart:Mart"),
        "tenet": Option("TenetConfig", "regimes.tenet:Tenet", several_steps=True),
        "noisymix": Option("NoisyMixConfig", "regimes.noisymix:NoisyMix"),
        "fpd": Option("FPDConfig", "regimes.fpd:FPD", several_steps=True, model="fpd"),
        "mixing": Option("MixingConfig", "regimes.mixing:Mixing"),
        "none": Option("NoRegimeConfig", "regimes.nothing:Nothing"),
    },
    "corruption": {
        "none": Option("NoCorruptionConfig"),
        "auto": Option("AutoCorruptionConfig"),
        "cifar_c": Option("CifarCConfig"),
        "imagenet_c": Option("ImageNetCConfig"),
        "own": Option("OwnConfig"),
        "generated": Option("GeneratedConfig"),
    },
    "attack": {
        "none": Option("NoAttackConfig"),
        "lspga": Option("LSPGAConfig", "attacks.lspga:LSPGA", trains=True),
        "pgd": Option("PGDConfig", "attacks.pgd:PGD", trains=True),
        "pgd_fixed": Option("PGDConfig", preset_of="pgd"),
        "pgd_kl": Option("PGDConfig", preset_of="pgd"),
        "random_in_ball": Option("RandomInBallConfig", "attacks.random_in_ball:RandomInBall", trains=True),
        "square": Option("SquareConfig", "attacks.square:Square", trains=True),
        "transfer": Option("TransferConfig"),
        "autoattack": Option("AutoAttackConfig", "attacks.libraries.autoattack:AutoAttack", library="pyautoattack"),
        "foolbox": Option(
            "FoolboxConfig",
            "attacks.libraries.foolbox:FoolboxAttack",
            nearest="attacks.libraries.foolbox_nearest:FoolboxNearest",
            library="foolbox",
        ),
        "torchattacks": Option(
            "TorchattacksConfig", "attacks.libraries.torchattacks:TorchAttack", library="torchattacks"
        ),
        "suite": Option("SuiteConfig"),
        "suite_short": Option("SuiteConfig"),
    },
    "optim": {
        "default": Option("SGDConfig"),
        "imagenet": Option("SGDConfig"),
        "adam": Option("AdamConfig"),
        "mixing": Option("AdamWConfig"),
    },
    "trainer": dict.fromkeys(("auto", "cpu", "gpu", "ddp"), Option("TrainerConfig")),
    "logger": {
        "csv": Option("CSVLoggerConfig"),
        "wandb": Option("WandbLoggerConfig"),
        "tensorboard": Option("TensorBoardLoggerConfig"),
    },
    "preset": {"official": Option("PresetConfig"), "paper": Option("PresetConfig")},
}
"""Every option of every group, by group and name; plug-ins add theirs with :func:`register`."""

BASES = {
    "encoding": "encodings.table:TableEncoding",
    "backbone": "backbones.backbone:Backbone",
    "model": "models.classifier:Classifier",
    "regime": "regimes.regime:Regime",
    "attack": "attacks.attack:Attack",
}
"""The groups that plug-ins may add to, with the base class of each."""


def option(group: str, name: str) -> Option:
    """An option of a group.

    Raises:
        BadInput: there is no option of that name.
    """
    if (found := OPTIONS[group].get(name)) is None:
        raise BadInput(f"{group}={name}: no such {group}; available: {', '.join(sorted(OPTIONS[group]))}")
    return found


def built(group: str) -> list[str]:
    """Names of the options that have a class, in alphabetical order."""
    return sorted(name for name, each in OPTIONS[group].items() if each.makes is not None)


def inner_attacks() -> list[str]:
    """Names of the attacks that a regime may train against."""
    return [name for name, each in OPTIONS["attack"].items() if each.trains]


def bucketed_encodings() -> list[str]:
    """Names of the encodings whose levels share codes in buckets."""
    return [name for name, each in OPTIONS["encoding"].items() if each.buckets]


def takes_several_steps(regime: str) -> bool:
    """Whether a regime may take several optimizer steps per batch.

    Raises:
        BadInput: there is none of that name.
    """
    return option("regime", regime).several_steps


def staged_backbones() -> list[str]:
    """Names of the backbones that can be taken apart into stages, in alphabetical order."""
    return sorted(name for name, each in OPTIONS["backbone"].items() if each.staged)


# -- options of plug-ins ----------------------------------------------------------------------------------------------


def register(group: str, name: str, schema: type, makes: Callable[..., Any], owner: str, trains: bool = False) -> None:
    """Add an option from outside this package; one that the same module registered before is replaced.

    Args:
        group: one of :data:`BASES`.
        name: lower-case letters, digits and underscores.
        schema: a dataclass with a field ``name`` and one field per key.
        makes: the class; for a backbone also a function, whose attribute ``staged`` says whether what it returns has
            stages.
        owner: the module that registers it.
        trains: see :class:`Option`.

    Raises:
        BadInput: the name is taken or not allowed, the schema is not a dataclass, or the class has the wrong base.
    """
    _check_new(group, name, schema, makes, owner)
    OPTIONS[group][name] = Option(
        schema,
        makes,
        buckets=group == "encoding" and _overrides("encoding", makes, "buckets"),
        serves=getattr(makes, "serves", "all"),
        trains=trains,
        several_steps=group == "regime" and getattr(makes, "several_steps", False),
        staged=group == "backbone" and _is_staged(makes),
        owner=owner,
    )


def registered() -> dict[tuple[str, str], str]:
    """The plug-in module that registered an option, by group and name."""
    return {(group, name): each.owner for group in BASES for name, each in OPTIONS[group].items() if each.owner}


def _check_new(group: str, name: str, schema: type, makes: Callable[..., Any], owner: str) -> None:
    where = f"plug-in {owner}: {group}={name}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):  # it becomes part of file names and conditions
        raise BadInput(f"{where}: must consist of lower-case letters, digits and underscores")
    there = OPTIONS[group].get(name)
    if there is not None and there.owner != owner:  # a module imported again, or a cell run again, replaces its own
        raise BadInput(f"{where} already exists, from {there.owner or 'p2be_exp'}; choose another name")
    keys = [each.name for each in dataclasses.fields(schema)] if dataclasses.is_dataclass(schema) else []
    needed = ("name", "eps_levels", "save_images") if group == "attack" else ("name",)
    if missing := [key for key in needed if key not in keys]:
        raise BadInput(f"{where}: the schema must be a dataclass with {', '.join(missing)}")
    base = _imported(BASES[group])
    if not (issubclass(makes, base) if isinstance(makes, type) else group == "backbone" and callable(makes)):
        or_else = ", or a function that returns one" if group == "backbone" else ""
        raise BadInput(f"{where} must be a subclass of {base.__name__}{or_else}")
    if group == "backbone" and _computes_nothing(makes):
        raise BadInput(f"{where}: the class must define forward, or begin, stage_modules and end in its place")
    if group == "encoding" and "lambda_smooth" not in keys and _overrides("encoding", makes, "smoothness"):
        raise BadInput(f"{where} has a smoothness, so its schema must have lambda_smooth")


def _overrides(group: str, makes: Callable[..., Any], method: str) -> bool:
    return getattr(makes, method) is not getattr(_imported(BASES[group]), method)


def _computes_nothing(backbone: Callable[..., Any]) -> bool:
    return isinstance(backbone, type) and not (_overrides("backbone", backbone, "forward") or _is_staged(backbone))


def _is_staged(backbone: Callable[..., Any]) -> bool:
    if isinstance(backbone, type):
        return bool(_imported("backbones.backbone:staged")(backbone))
    return bool(getattr(backbone, "staged", False))


def _imported(location: str) -> Any:
    """The object at ``PACKAGE.MODULE:NAME`` of this package."""
    module, _, name = location.partition(":")
    return reduce(getattr, name.split("."), importlib.import_module(f"p2be_exp.{module}"))
