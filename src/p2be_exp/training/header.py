"""The header of a training: the model, the data, the recipe, the device and the run folder."""

from __future__ import annotations

from pathlib import Path

import torch

from p2be_exp.backbones import size_advice
from p2be_exp.config.parts import part_config
from p2be_exp.config.schema import (
    NUTS_CONSTANTS,
    FPDModelConfig,
    NutsMixModelConfig,
    TenetConfig,
    TrainConfig,
    TrainerConfig,
)
from p2be_exp.data import ImageDataModule
from p2be_exp.system.ranks import processes
from p2be_exp.system.trainer import on_gpu, precision_of
from p2be_exp.training.probes import WORTH_SAYING


def run_header(
    config: TrainConfig,
    folder: Path,
    data: ImageDataModule,
    parameters: dict[str, int],
    weights: str | None = None,
    bf16: float | None = None,
    roles: str | None = None,
) -> str:
    """A few lines of text.

    Args:
        config: the run's resolved configuration.
        folder: the run folder.
        data: after its ``setup``.
        parameters: numbers of parameters, ``total`` and ``table``.
        weights: which pretrained weights were loaded and which were not; None without any.
        bf16: the speed-up of training in bf16 on this machine; None if it was not measured.
        roles: what is odd about the roles of a mixture's parts; None for nothing.
    """
    lines = {
        "run": str(folder),
        "model": _model(config, parameters),
        **{role: _part(config, role) for role in config.model.roles},
        "data": _data(config, data),
        "recipe": _recipe(config, len(data.train_dataloader())),
        "device": device_line(config.trainer, precision_of(config.trainer)),
    }
    if bf16 is not None and bf16 >= WORTH_SAYING:
        lines["device"] += f" (trainer.precision=bf16 would be {bf16:.1f} times as fast here)"
    if config.regime.trains and (advice := size_advice(config.backbone.name, data.image_size)):
        lines["sizes"] = advice
    if roles:
        lines["roles"] = roles
    if isinstance(config.model, NutsMixModelConfig):
        lines["constants"] = _constants(config.model)
    if weights:
        lines["weights"] = weights
    if config.optim.averages:
        lines["average"] = _average(config)
    if decoder := _decoder(config):
        lines["decoder"] = decoder
    if never := _never_starts(config, len(data.train_dataloader())):
        lines["tenet"] = never
    if config.departs_from_paper:
        lines["note"] = f"not the paper's recipe: {config.departs_from_paper}"
    if config.encoding.smoothness == "sum":
        lines["lambda"] = "smoothness is a sum over 255 pairs: a lambda is 255 times as strong as the published ones"
    width = 11 if "constants" in lines else 10 if config.model.roles else 8
    return "\n".join(f"{name:<{width}}{text}" for name, text in lines.items()) + "\n"


def _model(config: TrainConfig, parameters: dict[str, int]) -> str:
    mixture = bool(config.model.roles)
    where = "tables" if mixture else "table"
    table = f", {parameters['table']:,} of them in the {where}" if parameters["table"] else ""
    name = f"{config.model.name} of two runs" if mixture else _network(config)
    return f"{name}; {parameters['total']:,} parameters{table}"


def _network(config: TrainConfig) -> str:
    encoding = config.encoding
    name = encoding.name + ("" if encoding.M is None else f", M = {encoding.M}")
    around = f"{config.model.label} around " if isinstance(config.model, FPDModelConfig) else ""
    return f"{name}; {around}{config.network}"


def _part(config: TrainConfig, role: str) -> str:
    """Where a part comes from, and what it is."""
    return f"{getattr(config.model, role)} ({_network(part_config(config, role))})"


def _constants(model: NutsMixModelConfig) -> str:
    """Those of MixedNUTS, and what they are from."""
    found = model.calibration
    values: dict[str, float] = model.constants if found is None else found  # type: ignore[assignment]
    told = ", ".join(f"{key} {values[key]:.6g}" for key in NUTS_CONSTANTS)
    if found is None:
        return f"{told}; as given"
    kind = "training" if found["images_of"] == "train" else "held-out"
    return f"{told}; found on {found['images']} {kind} images"


def _data(config: TrainConfig, data: ImageDataModule) -> str:
    val_size = config.dataset.val_size
    held_out = f", {val_size:,} held out" if val_size else ""
    train, test = len(data.train_dataloader().data), len(data.test_dataloader().data)
    return f"{data.name}: {train:,} training images{held_out}, {test:,} test images, {data.num_classes} classes"


def _recipe(config: TrainConfig, batches: int) -> str:
    if not config.regime.trains:
        return f"{config.regime.name}: nothing is trained; seed {config.seed}"
    epochs, more = "epoch" if config.epochs == 1 else "epochs", "batch" if batches == 1 else "batches"
    length = f"{config.epochs} {epochs} of {batches} {more} of {config.batch_size}"
    if config.early_stop:
        length += f", fewer after {config.early_stop} without a lower validation error"
    return f"{config.regime.name}; {length}; preset {config.preset.name}; seed {config.seed}"


def _average(config: TrainConfig) -> str:
    optim = config.optim
    how = "all steps alike" if optim.ema_decay is None else f"decay {optim.ema_decay:g}"
    since = f"after epoch {optim.ema_from}" if optim.ema_from else "from the first step on"
    return f"of the weights, {how}, {since}; checkpoint=ema"


def _never_starts(config: TrainConfig, batches: int) -> str | None:
    """What to say of a TENET training that ends before its first second step."""
    regime, last = config.regime, config.epochs * batches
    if not isinstance(regime, TenetConfig) or regime.first_second_step <= last:
        return None
    return (
        f"never starts: the first batch with a second step would be {regime.first_second_step:,} "
        f"(regime.from_step={regime.from_step}, regime.every={regime.every}), the last batch is {last:,}"
    )


def _decoder(config: TrainConfig) -> str | None:
    """What to say of a Feature Pyramid Decoder that nobody teaches to restore."""
    model = config.model
    if not isinstance(model, FPDModelConfig) or not model.restoration or config.regime.name == "fpd":
        return None
    said = f"regime={config.regime.name} is classification alone: the decoder learns through the second pass only"
    mixed = "; both passes share running statistics, which fit neither in eval mode (model.statistics=by_pass)"
    return said + mixed if model.statistics == "shared" else said


_PRECISIONS = {"32-true": "float32", "bf16-mixed": "bf16"}
"""Lightning's names of precisions in the documentation's words."""


def device_line(trainer: TrainerConfig, precision: str) -> str:
    """The device, the precision, the number of processes and, on a CPU, of threads of each.

    Args:
        trainer: the group.
        precision: Lightning's name.
    """
    number = processes(trainer)
    together = f", {number} processes" if number > 1 else ""
    threads = torch.get_num_threads()
    computing = "" if on_gpu(trainer) else f", {threads} thread{'s' * (threads > 1)}{' each' * (number > 1)}"
    return f"{'GPU' if on_gpu(trainer) else 'CPU'}, {_PRECISIONS.get(precision, precision)}{together}{computing}"
