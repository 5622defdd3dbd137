"""Checks of a composed configuration that its types cannot make: ranges, and values that are incompatible.

They run before any data is read or any model is built.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from p2be_exp.config.fields import LARGEST
from p2be_exp.config.folders import PLUGIN_FOLDERS
from p2be_exp.config.joined import joined
from p2be_exp.config.parts import check_parts
from p2be_exp.config.published_networks import PUBLISHED_NETWORKS
from p2be_exp.config.schema import (
    COMMAND_SCHEMAS,
    AdamConfig,
    AdamWConfig,
    AdaptiveMixModelConfig,
    AttackChoice,
    BackboneConfig,
    CorruptionConfig,
    CorruptionsConfig,
    DatasetConfig,
    EvaluateConfig,
    EvaluateModelConfig,
    ExportConfig,
    FoolboxConfig,
    FPDConfig,
    FPDModelConfig,
    MixingConfig,
    PGDConfig,
    PicturesDatasetConfig,
    PretrainableResidualBackboneConfig,
    PublishedModelConfig,
    RegimeConfig,
    SGDConfig,
    SomeCorruptionConfig,
    TrainConfig,
    TrainerConfig,
)
from p2be_exp.config.stages import check_staged
from p2be_exp.config.typed import checked
from p2be_exp.corruptions.names import select_names, select_severities
from p2be_exp.errors import BadInput
from p2be_exp.registry import OPTIONS, inner_attacks, option, takes_several_steps
from p2be_exp.system.gpu_batch_norm import fuses_batch_norms
from p2be_exp.system.gpu_stem import gpu_form
from p2be_exp.system.paths import check_path


def check_config(command: str, config: Any) -> None:
    """Check a resolved configuration.

    Args:
        command: ``train``, ``evaluate``, ``evaluate_model``, ``corruptions``, ``export``, ``published`` or
            ``tracking``.
        config: typed, or plain dictionaries as :func:`p2be_exp.config.compose.to_plain` gives.

    Raises:
        BadInput: names the key, the value and what is allowed.
    """
    config = checked(config, COMMAND_SCHEMAS[command]) if isinstance(config, Mapping) else config
    if isinstance(config, TrainConfig):
        check_path("task_name", config.task_name)
    if isinstance(config, TrainConfig | EvaluateConfig | EvaluateModelConfig | ExportConfig):
        _check_plugins(config.plugins)
    if isinstance(config, TrainConfig | EvaluateModelConfig | CorruptionsConfig):
        _check_pictures(config.dataset)
    if isinstance(config, CorruptionsConfig):
        select_names(config.names)
        select_severities(config.severities)
    if isinstance(config, ExportConfig):
        _check_batch(config.batch)
    if isinstance(config, TrainConfig | EvaluateConfig | EvaluateModelConfig):
        _check_trainer(config.trainer)
        gpu_form(), fuses_batch_norms()  # the environment's
        _check_corruption(config)
        check_attack("attack", config.attack)
    if isinstance(config, EvaluateConfig | EvaluateModelConfig):
        _check_trains_nothing(config.trainer)
    if isinstance(config, TrainConfig):
        _check_regime(config)
        check_parts(config)
        _check_published(config)
        _check_training(config)
        _check_inner_attack(config.regime)
        _check_stages(config)
        _check_gate(config)
        _check_fpd(config)


def _check_plugins(names: list[str]) -> None:
    if missing := [name for name in names if name not in PLUGIN_FOLDERS]:
        raise BadInput(
            f"plugins=[{','.join(missing)}]: must be named on the command line or in P2BE_PLUGINS; "
            "a file of conf/ is read too late for them"
        )


def _check_batch(batch: Any) -> None:
    if batch != "dynamic" and (isinstance(batch, bool) or not isinstance(batch, int) or not 1 <= batch <= LARGEST):
        raise BadInput(f"batch={batch}: must be dynamic, or a number of images, 1 or more")


def _check_trainer(trainer: TrainerConfig) -> None:
    if trainer.devices * trainer.num_nodes > 1 and trainer.strategy != "ddp":
        raise BadInput(f"trainer.devices={trainer.devices}: several devices require trainer=ddp")


def _check_trains_nothing(trainer: TrainerConfig) -> None:
    if trainer.fast_dev_run:
        raise BadInput("trainer.fast_dev_run=true: is for train.py; use limit_test=N for a few test images")
    if trainer.profile:
        raise BadInput("trainer.profile=true: is for train.py, whose training steps it records")


def _check_corruption(config: TrainConfig | EvaluateConfig | EvaluateModelConfig) -> None:
    corruption = config.corruption
    if not isinstance(corruption, SomeCorruptionConfig):
        return
    select_names(corruption.names, key="corruption.names")
    select_severities(corruption.severities, key="corruption.severities")
    check_folder(corruption)
    if isinstance(config, TrainConfig | EvaluateModelConfig):
        check_source(corruption.name, config.dataset.name)


def check_folder(corruption: CorruptionConfig) -> None:
    """Check that ``corruption=own`` has a folder.

    Args:
        corruption: the group, with a source.

    Raises:
        BadInput: no folder is given.
    """
    if corruption.name == "own" and corruption.dir is None:
        raise BadInput(
            "corruption.dir: required by corruption=own; a folder with NAME.npy and labels.npy in the layout of "
            "CIFAR-10-C"
        )


def check_source(source: str, dataset: str) -> None:
    """Check that a source of corrupted images covers a data set.

    Raises:
        BadInput: it does not.
    """
    owners = {"cifar_c": ("cifar10", "cifar100"), "imagenet_c": ("imagenet",)}
    if dataset not in owners.get(source, (dataset,)):
        raise BadInput(
            f"corruption={source}: requires dataset={' or '.join(owners[source])}, not {dataset}; "
            "use auto, own, generated or none"
        )


def check_attack(key: str, attack: AttackChoice) -> None:
    """Check what the types of an attack's keys do not cover.

    Args:
        key: of the attack, ``attack`` or ``regime.attack``.
        attack: its group.

    Raises:
        BadInput: a radius is not a whole number of levels, or there are several where there is none; a transfer attack
            has no source, or a suite is to be joined by what there is not.
    """
    if attack.name == "none":
        return
    check_radii(f"{key}.eps_levels", attack.radii)
    if isinstance(attack, PGDConfig) and attack.loss == "kl" and attack.start == "image":
        raise BadInput(
            f"{key}.start=image: must be near or uniform with {key}.loss=kl, whose gradient is zero at the image itself"
        )
    if isinstance(attack, FoolboxConfig) and attack.finds_nearest and (attack.radii == [0] or len(attack.radii) > 1):
        raise BadInput(
            f"{key}.eps_levels={attack.eps_levels}: must be one number, 1 or more, with {key}.method={attack.method}, "
            "which has no radius; it is how far the secant reaches"
        )
    if attack.name == "transfer" and attack.source is None:
        raise BadInput(f"{key}.source: required; the run to transfer from, {key}.source=RUN")
    joined(attack)


def check_radii(key: str, radii: Sequence[Any]) -> None:
    """Check that the radii of an attack are whole numbers of levels, each once.

    Args:
        key: that gives them.
        radii: one or several.

    Raises:
        BadInput: there is none, or one that is no such number or is there twice.
    """
    if not radii:
        raise BadInput(f"{key}=[]: at least one radius is required")
    for radius in radii:
        _check_radius(key, radius)
    if len(set(radii)) < len(radii):
        raise BadInput(f"{key}={radii}: each radius must occur only once")


def _check_radius(key: str, radius: Any) -> None:
    expected = "must be a whole number of levels between 0 and 255"
    if isinstance(radius, float) and 0 < radius < 1:
        low = math.floor(radius * 255)
        raise BadInput(f"{key}={radius}: {expected}; {radius} is {radius * 255:.2f} levels: {low} levels or {low + 1}?")
    if isinstance(radius, bool) or not isinstance(radius, int) or not 0 <= radius <= 255:
        raise BadInput(f"{key}={radius}: {expected}")


def _check_regime(config: TrainConfig) -> None:
    """Check that model and regime go together: some of each are for one another alone."""
    model, regime = config.model.name, config.regime.name
    needed, taken = option("model", model).regime, option("model", model).regimes
    if needed and regime != needed:
        raise BadInput(f"regime={regime}: must be {needed} with model={model}")
    takers = [name for name, each in OPTIONS["model"].items() if each.regime == regime]
    takers = takers or list(filter(None, [option("regime", regime).model]))
    if takers and not needed and model not in takers:
        alone = {each.regime for each in OPTIONS["model"].values()}
        alone |= {name for name, each in OPTIONS["regime"].items() if each.model not in ("", model)}
        raise BadInput(
            f"regime={regime}: only with model={' or '.join(takers)}; with model={model} it must be one of "
            f"{', '.join(taken or sorted(set(OPTIONS['regime']) - alone))}"
        )
    if taken and regime not in taken and not option("regime", regime).owner:
        raise BadInput(f"regime={regime}: must be one of {', '.join(taken)} with model={model}")


def _check_published(config: TrainConfig) -> None:
    model = config.model
    if not isinstance(model, PublishedModelConfig):
        return
    for key in ("network", "weights"):
        if getattr(model, key) is None:
            what = "the file, as published" if key == "weights" else f"one of {', '.join(PUBLISHED_NETWORKS)}"
            raise BadInput(f"model.{key}: required by model={model.name}; {what}")
    if config.encoding.name != "rgb":
        raise BadInput(f"encoding={config.encoding.name}: must be rgb with model={model.name}")


def _check_inner_attack(regime: RegimeConfig) -> None:
    inner = regime.attack
    if inner is None:
        return
    if inner.name not in inner_attacks():
        raise BadInput(
            f"regime={regime.name} attack@regime.attack={inner.name}: it trains on adversarial images; "
            f"must be one of {', '.join(inner_attacks())}"
        )
    check_attack("regime.attack", inner)
    if isinstance(inner.eps_levels, list):
        raise BadInput(f"regime.attack.eps_levels={inner.eps_levels}: training uses one radius")


def _check_stages(config: TrainConfig) -> None:
    needed_by = config.regime.needs_stages
    if needed_by is None:
        return
    if config.model.name != "plain":
        raise BadInput(f"model={config.model.name}: must be plain with {needed_by}, which needs a backbone's stages")
    check_staged(config.backbone.name, needed_by)


def _check_gate(config: TrainConfig) -> None:
    """Check what belongs to a gate: attacks that climb it, its range, and its training."""
    model, regime = config.model, config.regime
    for key, attack in (("attack", config.attack), ("regime.attack", regime.attack)):
        check_climbs_gate(key, attack, model.gated)
    if isinstance(model, AdaptiveMixModelConfig):
        _check_order("model.alpha_low", model.alpha_low, "model.alpha_high", model.alpha_high)
        if not model.widths:
            raise BadInput("model.widths=[]: at least one layer is required")
    if isinstance(regime, MixingConfig):
        _check_order("regime.radius_low", regime.radius_low, "regime.radius_high", regime.radius_high)
        inner = regime.attack
        if not isinstance(inner, PGDConfig) or inner.loss != "mix":
            loss = f" regime.attack.loss={inner.loss}" if isinstance(inner, PGDConfig) else ""
            raise BadInput(f"attack@regime.attack={inner.name}{loss}: must be pgd with loss=mix for regime=mixing")
        if config.batch_size < 2:
            raise BadInput(f"batch_size={config.batch_size}: must be 2 or more with regime=mixing")


def _check_fpd(config: TrainConfig) -> None:
    """Check what belongs to a Feature Pyramid Decoder: its backbone, the training of its restoration, its passes."""
    model, regime = config.model, config.regime
    if isinstance(model, FPDModelConfig):
        check_staged(config.backbone.name, f"model={model.name}")
        if not model.restoration and isinstance(regime, FPDConfig):
            others = [each for each in option("model", model.name).regimes if each != regime.name]
            raise BadInput(
                "model.restoration=False: must be true with regime=fpd, which trains what is restored; "
                f"without it the regime must be one of {', '.join(others)}"
            )
        if not model.restoration and model.statistics != "shared":
            raise BadInput(
                f"model.statistics={model.statistics}: must be shared with model.restoration=false, which has one pass"
            )
    if isinstance(regime, FPDConfig):
        _check_radius("regime.noise", regime.noise)


def _check_order(low_key: str, low: float, high_key: str, high: float) -> None:
    if low > high:
        raise BadInput(f"{low_key}={low}: must be at most {high_key}={high}")


def check_climbs_gate(key: str, attack: AttackChoice | None, gated: bool) -> None:
    """Check that an attack that climbs a gate has one.

    Args:
        key: of the attack, ``attack`` or ``regime.attack``.
        attack: its group.
        gated: whether the model has a gate.

    Raises:
        BadInput: it has none.
    """
    if isinstance(attack, PGDConfig) and attack.loss == "mix" and not gated:
        raise BadInput(f"{key}.loss=mix: climbs a gate, which model=adaptive_mix alone has")


def _check_training(config: TrainConfig) -> None:
    if config.scale != "full" and config.sweeps is None:
        raise BadInput(f"scale={config.scale}: requires sweeps=NAME")
    if config.backbone.weights is not None and config.model.name != "plain":
        raise BadInput(f"backbone.weights={config.backbone.weights}: requires model=plain, not {config.model.name}")
    _check_early_stop(config)
    _check_attacked(config)
    processes = config.trainer.devices * config.trainer.num_nodes
    if config.batch_size < processes:
        raise BadInput(
            f"batch_size={config.batch_size}: must be at least {processes}, since {processes} processes share it"
        )
    _check_weights(config.backbone)
    optim = config.optim
    if isinstance(optim, SGDConfig):
        _check_sgd(optim)
    elif isinstance(optim, AdamWConfig):
        _check_betas("optim.betas", optim.betas)
        if not config.model.gated:
            raise BadInput(f"optim={optim.name}: only with model=adaptive_mix, not {config.model.name}")
    elif isinstance(optim, AdamConfig):
        _check_betas("optim.betas", optim.betas)
        _check_betas("optim.table_betas", optim.table_betas)
    _check_warm_up(config)
    _check_average(config)
    if optim.accumulate > 1 and takes_several_steps(config.regime.name):
        raise BadInput(
            f"optim.accumulate={optim.accumulate}: must be 1 with regime={config.regime.name}, "
            "which may take several optimizer steps per batch"
        )


def _check_early_stop(config: TrainConfig) -> None:
    given = f"early_stop={config.early_stop}"
    if config.early_stop and not config.regime.trains:
        raise BadInput(f"{given}: must be 0 with regime={config.regime.name}, which trains nothing")
    if config.early_stop and not config.dataset.val_size:
        raise BadInput(
            f"{given}: requires dataset.val_size above 0, the number of training images held out to decide by; "
            "test images decide nothing"
        )


def _check_attacked(config: TrainConfig) -> None:
    limit = config.limit_attack
    if limit is not None and config.attack.name == "none":
        raise BadInput(f"limit_attack={limit}: requires attack=NAME; with attack=none nothing is attacked")
    if limit is not None and config.limit_test is not None and limit > config.limit_test:
        raise BadInput(f"limit_attack={limit}: must be at most limit_test={config.limit_test}")


def _check_warm_up(config: TrainConfig) -> None:
    epochs, optim = config.optim.warmup_epochs, config.optim
    if epochs > config.epochs:
        raise BadInput(f"optim.warmup_epochs={epochs}: must be at most {config.epochs} (epochs)")
    if epochs and isinstance(optim, AdamWConfig) and optim.warmup:
        raise BadInput(f"optim.warmup_epochs={epochs}: a warm-up beside optim.warmup={optim.warmup:g}; set one to 0")


def _check_average(config: TrainConfig) -> None:
    optim = config.optim
    ema = optim.ema
    is_decay = isinstance(ema, int | float) and not isinstance(ema, bool) and 0 <= ema < 1
    if not (ema is None or ema == "constant" or is_decay):
        raise BadInput(f"optim.ema={ema}: must be a decay, at least 0 and below 1, or constant, or null")
    if optim.averages and not config.regime.trains:
        raise BadInput(f"optim.ema={ema}: must be null with regime={config.regime.name}, which trains nothing")
    if optim.ema_from and not optim.averages:
        raise BadInput(f"optim.ema_from={optim.ema_from}: requires optim.ema")
    if optim.ema_from >= config.epochs:
        raise BadInput(f"optim.ema_from={optim.ema_from}: must be below {config.epochs} (epochs)")


def _check_sgd(optim: SGDConfig) -> None:
    if optim.nesterov and optim.momentum == 0:
        raise BadInput("optim.momentum=0.0: must be above 0 for Nesterov's method, or set optim.nesterov=false")
    _check_schedule(optim)
    _check_betas("optim.table_betas", optim.table_betas)


def _check_betas(key: str, betas: list[float]) -> None:
    if any(beta >= 1 for beta in betas) or len(betas) != 2:
        raise BadInput(f"{key}={betas}: must be two numbers, each at least 0 and below 1")


def _check_weights(backbone: BackboneConfig) -> None:
    if not isinstance(backbone, PretrainableResidualBackboneConfig) or backbone.weights is None:
        return
    if backbone.activation != "relu":
        raise BadInput(
            f"backbone.activation={backbone.activation}: must be relu with backbone.weights, which are those of a "
            "network with ReLU"
        )


def _check_schedule(optim: SGDConfig) -> None:
    milestones = optim.milestones
    if optim.schedule == "cosine" and milestones:
        raise BadInput(f"optim.milestones={milestones}: requires optim.schedule=steps")
    if optim.schedule == "steps" and (not milestones or sorted(set(milestones)) != milestones):
        raise BadInput(
            f"optim.milestones={milestones}: optim.schedule=steps needs epochs in ascending order, such as [60,120]"
        )


def _check_pictures(dataset: DatasetConfig) -> None:
    if isinstance(dataset, PicturesDatasetConfig) and dataset.resized < dataset.image_size:
        raise BadInput(f"dataset.resized={dataset.resized}: must be {dataset.image_size} (dataset.image_size) or more")
