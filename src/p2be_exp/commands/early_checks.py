"""Checks of a job before PyTorch is imported, which takes seconds: the devices, files and runs that it names.

The job itself checks all of this again, and more; the early checks are only there to give errors fast.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from p2be_exp.config.image_sizes import TAKEN, check_taken
from p2be_exp.config.joined import check_installed
from p2be_exp.config.schema import CorruptionsConfig, SomeCorruptionConfig, TrainConfig
from p2be_exp.corruptions.names import select_names
from p2be_exp.corruptions.official import OFFICIAL_FOLDERS, resolved
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.attack_source import attack_source
from p2be_exp.models.weights_file import weights_file
from p2be_exp.runs.run import Run
from p2be_exp.system.devices import check_devices_early
from p2be_exp.system.paths import user_path
from p2be_exp.training.part_runs import part_runs
from p2be_exp.training.table_source import table_source


def check_early(config: TrainConfig, training: bool = True, fresh: bool = True) -> Run | None:
    """Check what a job's configuration names, unless PyTorch is imported: then the job's own checks are as fast.

    Args:
        config: resolved and checked.
        training: whether the job trains; otherwise it evaluates a run.
        fresh: whether a training starts from the beginning; otherwise a checkpoint has the weights.

    Returns:
        The run that its attacks transfer from, opened; None if there is none or nothing was checked.

    Raises:
        BadInput: this machine lacks a library or a device, a file or folder is missing, or a run is unsuitable.
    """
    if "torch" in sys.modules:
        return None
    check_devices_early(config.trainer)
    check_installed(config.attack)
    _check_corruption(config)
    source = attack_source(config)
    if training:
        _check_size(config)
    if training and fresh:
        table_source(config)
        part_runs(config)
        if (weights := config.backbone.weights) is not None:
            weights_file(config.backbone.name, weights)
    check_data(config, training)
    return source


def _check_size(config: TrainConfig) -> None:
    from p2be_exp.data import source_class

    name, dataset = config.backbone.name, config.dataset
    size = source_class(dataset.name).image_size or dataset.image_size
    if name in TAKEN and size is not None:
        check_taken(name, size, TAKEN)


def _check_corruption(config: TrainConfig) -> None:
    data_dir, dataset = user_path("data_dir", config.data_dir), config.dataset.name
    corruption = resolved(config.corruption, dataset, data_dir)
    if not isinstance(corruption, SomeCorruptionConfig):
        return
    folder: str | Path | None = corruption.dir
    if folder is None and corruption.name != "generated":
        folder = data_dir / OFFICIAL_FOLDERS.get(dataset, "")
    if folder is not None and not user_path("corruption.dir", folder).is_dir():
        raise BadInput(f"corruption.dir={folder}: no such folder")
    frost_dir = corruption.frost_dir
    if frost_dir is not None and "frost" in select_names(corruption.names):
        from p2be_exp.corruptions.textures import find_textures

        find_textures(user_path("corruption.frost_dir", frost_dir), key="corruption.frost_dir")


def check_data(config: TrainConfig | CorruptionsConfig, training: bool = True) -> None:
    """Check that the files of a configuration's data set exist, unless they are to be downloaded.

    Args:
        config: with ``dataset`` and ``data_dir``.
        training: whether the training images are needed.

    Raises:
        BadInput: they do not.
    """
    from p2be_exp.data import FolderSettings, data_source  # importing Pillow is slow: --help does not need it

    dataset = config.dataset
    settings = FolderSettings.of(dataset)
    if settings is not None and not training:
        settings = replace(settings, test_only=True)
    data_source(dataset.name, config.data_dir, settings).check(dataset.download)
