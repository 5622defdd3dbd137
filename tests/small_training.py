"""A training of some batches of digits, for tests that step a TrainingModule by hand or let Lightning do it."""

import torch

from p2be_exp.config import training_config
from p2be_exp.config.schema import TrainConfig
from p2be_exp.data import Batch, ImageDataModule
from p2be_exp.optim import CombinedOptimizer, build_optimizer
from p2be_exp.training.module import TrainingModule


def small_config(*overrides: str) -> TrainConfig:
    """Two epochs of six batches of 4 images, the last of a single one; a short learned table, a small network."""
    given = ["dataset=digits", "trainer=cpu", "backbone=wrn16_1"]
    if "encoding=rgb" not in overrides:
        given.append("encoding.M=4")
    return training_config([*given, "epochs=2", "batch_size=4", "limit_train=21", *overrides])


def small_data(config: TrainConfig) -> ImageDataModule:
    """The images of such a configuration, set up."""
    given = {
        "seed": config.seed,
        "batch_size": 4,
        "eval_batch_size": 4,
        "limit_train": config.limit_train,
        "limit_test": 4,
    }
    data = ImageDataModule("digits", "no folder", **given, val_size=0, split_seed=0, download=False)
    data.setup()
    return data


def small_step() -> tuple[TrainingModule, CombinedOptimizer, Batch]:
    """What is trained, its optimizer, and a batch of four images."""
    config = small_config("regime=standard")
    torch.manual_seed(3)
    module = TrainingModule(config, 10, 6)
    batch = next(iter(small_data(config).train_dataloader()))
    return module, build_optimizer(*module.model.learned(), config.optim), batch
