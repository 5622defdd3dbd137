"""The data module of a configuration."""

from __future__ import annotations

from p2be_exp.config.schema import TrainConfig
from p2be_exp.data import FolderSettings, ImageDataModule
from p2be_exp.system.trainer import on_gpu


def build_data(config: TrainConfig, training: bool = False) -> ImageDataModule:
    """The data module of a configuration, with training images if ``training``; nothing is read yet."""
    dataset = config.dataset
    return ImageDataModule(
        dataset.name,
        config.data_dir,
        batch_size=config.batch_size,
        eval_batch_size=config.eval_batch_size or (1000 if on_gpu(config.trainer) else 100),
        seed=config.seed,
        limit_train=config.limit_train,
        limit_test=config.limit_test,
        val_size=dataset.val_size,
        split_seed=dataset.split_seed,
        download=dataset.download,
        folder=FolderSettings.of(dataset),
        test_only=not training,
    )
