"""The constants of MixedNUTS, from images that neither part was trained on; never from test images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch

from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.pgd import PGD
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.config.schema import NutsMixModelConfig, TrainConfig
from p2be_exp.data.images import ImageSet
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.data import build_data
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.nuts_calibration import CIFAR10_GRID, CIFAR100_GRID, IMAGENET_GRID, Calibration, Grid, calibrate
from p2be_exp.runs.run import Run
from p2be_exp.training.part_runs import common_split

_AT_ONCE = 100  # images


def with_calibration(config: TrainConfig, runs: Mapping[str, Run], models: Mapping[str, Classifier]) -> TrainConfig:
    """The configuration with the constants of MixedNUTS filled in; unchanged where none are to be found.

    The robust part is attacked by PGD with the margin loss. With several processes each of them searches.

    Args:
        config: of a job whose data is there.
        runs: of the parts, by role; empty after a resume.
        models: of the same.

    Raises:
        BadInput: see :func:`~p2be_exp.training.part_runs.common_split`; or the robust part gets all images right, or
            none under attack.
    """
    model = config.model
    if not isinstance(model, NutsMixModelConfig) or model.scale is not None or not runs:
        return config
    images = _images(config, model, runs)
    found = _searched(models["robust"], images, model, config.seed)
    constants = {"scale": found.s, "shift": found.c, "power": found.p, "alpha": found.alpha}
    facts = {
        **constants,
        "surrogate_alpha": found.surrogate_alpha,
        "margin": found.q,
        "images": len(images),
        "images_of": model.calibrate_on,
        "clean_wrong": found.clean_wrong,
        "attacked_right": found.attacked_right,
        "share_as_sure": found.share,
        "changed": found.changed,
    }
    return dataclasses.replace(config, model=dataclasses.replace(model, calibration=facts))


def _images(config: TrainConfig, model: NutsMixModelConfig, runs: Mapping[str, Run]) -> ImageSet:
    val_size, split_seed = common_split(config, runs)
    dataset = dataclasses.replace(config.dataset, val_size=val_size, split_seed=split_seed)
    data = build_data(dataclasses.replace(config, dataset=dataset), training=True)
    data.setup()
    try:
        loaders = data.val_dataloader() if val_size else data.train_dataloader()
        assert not isinstance(loaders, list)  # there is a split
        return loaders.data.first(model.calibration_images)
    finally:
        data.close()


def _searched(robust: Classifier, images: ImageSet, model: NutsMixModelConfig, seed: int) -> Calibration:
    attack = PGD(model.calibration_levels, gradient="secant", loss="margin", steps=model.calibration_steps, restarts=1)
    wrong, right = [], []
    for places in torch.arange(len(images)).split(_AT_ONCE):
        some, labels = images.images[places], images.labels[places]
        found = attack(robust, some, labels, AttackRandom(seed, images.indices[places]))
        with attacked(robust), torch.no_grad():
            logits, moved = robust(some), robust(found.images)
        wrong.append(logits[logits.argmax(1) != labels])
        right.append(moved[~found.broken])
    clean_wrong, attacked_right = torch.cat(wrong), torch.cat(right)
    for name, each in (("right on clean", clean_wrong), ("wrong under attack", attacked_right)):
        if not len(each):
            raise BadInput(
                f"model.calibration_images={model.calibration_images}: model.robust is {name} images all of the time, "
                "so there is nothing to calibrate on; give model.scale, shift, power, alpha and surrogate_alpha"
            )
    return calibrate(clean_wrong, attacked_right, grid_of(clean_wrong.shape[1]))


def grid_of(classes: int) -> Grid:
    """The published grid for a number of classes: that of CIFAR-10, CIFAR-100 or ImageNet."""
    if classes > 200:
        return IMAGENET_GRID
    return CIFAR10_GRID if classes <= 20 else CIFAR100_GRID
