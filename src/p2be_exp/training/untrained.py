"""What takes the place of a training where nothing is trained: the parts' weights, and a complete checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from p2be_exp.models.classifier import Classifier
from p2be_exp.runs.load import load_checkpoint, model_of
from p2be_exp.runs.run import Run
from p2be_exp.system.ranks import rank
from p2be_exp.training.callbacks import AtomicCheckpointIO
from p2be_exp.training.module import TrainingModule


def part_models(runs: Mapping[str, Run]) -> dict[str, Classifier]:
    """The trained models of a mixture's parts, by role, from their last checkpoints.

    Raises:
        BadInput: a checkpoint is damaged or does not fit its run.
    """
    found = {}
    for role, run in runs.items():
        key = f"model.{role}"
        found[role] = model_of(run, load_checkpoint(run, key=key), key=key)
    return found


def take_weights(model: Classifier, parts: Mapping[str, Classifier]) -> None:
    """Copy the parts' weights into a mixture."""
    for role, part in parts.items():
        getattr(model, role).load_state_dict(part.state_dict())


def keep_untrained(module: TrainingModule, run: Run) -> None:
    """Write ``checkpoints/last.ckpt`` of a model that no step was made of; the first rank does."""
    if rank(module.config.trainer) == 0:
        AtomicCheckpointIO().save_checkpoint(_checkpoint(module), run.checkpoint("last"))


def _checkpoint(module: TrainingModule) -> dict[str, Any]:
    """The parts of a checkpoint of Lightning's that have a content."""
    return {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": pl.__version__,
        "state_dict": module.state_dict(),
        "hparams_name": "kwargs",
        "hyper_parameters": dict(module.hparams),
    }


def load_untrained(module: TrainingModule, run: Run) -> None:
    """The weights of :func:`keep_untrained`, on every rank.

    Raises:
        BadInput: the checkpoint is damaged.
    """
    module.load_state_dict(load_checkpoint(run, key="resume")["state_dict"])
