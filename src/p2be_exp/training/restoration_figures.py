"""The figures of a trained network that restores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from p2be_exp.augment.level_noise import level_noise
from p2be_exp.config.schema import FPDConfig, TrainConfig
from p2be_exp.data import ImageDataModule
from p2be_exp.encodings.nearest_levels import nearest_levels
from p2be_exp.evaluation.figures.restoration import draw_restoration, draw_restored_images
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.pyramid import PyramidClassifier
from p2be_exp.runs.run import Run
from p2be_exp.training.callbacks.phase_rows import read_phases

SHOWN = 6


def restoration_figures(config: TrainConfig, run: Run, model: Classifier, data: ImageDataModule) -> list[Path]:
    """Draw test images as the network restores them, and the error of restoration over the batches of its training.

    Args:
        config: of the run.
        run: gets ``figures/restored_images.png``, and ``figures/restoration.png`` of a training by ``regime=fpd``, or
            files of the kinds that the configuration has.
        model: trained.
        data: the first test images are shown, with the noise of the regime.

    Returns:
        The files; none of a network that restores nothing.
    """
    if not isinstance(model, PyramidClassifier) or model.restoration is None:
        return []
    regime = config.regime
    title = f"{config.encoding.name}, {config.backbone.name}, {data.name}"
    noise, path = regime.noise if isinstance(regime, FPDConfig) else 0, run.path / "figures" / "restored_images.png"
    paths = _draw_images(model, data, noise, config.seed, title, path, config.figures)
    if isinstance(regime, FPDConfig) and (rows := read_phases(run)):
        _, steps, errors, joint = zip(*rows, strict=True)
        path, title = run.path / "figures" / "restoration.png", f"{title}: error of restoration"
        paths += draw_restoration(steps, errors, joint, regime.threshold, title, path, config.figures)
    return paths


@torch.no_grad()
def _draw_images(
    model: PyramidClassifier,
    data: ImageDataModule,
    noise: int,
    seed: int,
    title: str,
    path: Path,
    kinds: Sequence[str],
) -> list[Path]:
    clean = data.test_set().first(SHOWN)
    device = next(model.parameters()).device
    noisy = level_noise(clean.images, noise, clean.indices, seed, epoch=0)
    was_training = model.training
    restored = model.eval().passes(*model.read(noisy.to(device), learn=False)).restored
    model.train(was_training)
    assert restored is not None
    levels = nearest_levels(restored, model.encoding.table())
    before, changed, found = (each.cpu().numpy() for each in (clean.images, noisy, levels))
    title = f"{title}: the first test images, noise of {noise} levels"
    return draw_restored_images(before, changed, found, title, path, kinds)
