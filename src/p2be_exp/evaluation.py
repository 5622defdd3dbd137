"""Evaluation: the LightningModule that measures one model under a list of conditions."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from p2be_exp.data import Batch, ImageDataModule, ResidentLoader
from p2be_exp.results import CLEAN, Condition, Results, Row


class EvaluationModule(pl.LightningModule):
    """Predictions of a model under each condition, and their rows.

    ``Trainer.test`` runs it over one loader a condition, in the order of ``conditions``. When a condition's last batch
    is done its images are gathered from all ranks, each exactly once, and its row is written.

    Args:
        model: images in, logits out.
        conditions: what the loaders hold.
        results: where the rows go; None on every rank but the first.
    """

    def __init__(self, model: nn.Module, conditions: list[Condition], results: Results | None) -> None:
        super().__init__()
        self.model = model
        self.conditions = conditions
        self.results = results
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []
        self._start = 0.0

    def on_test_batch_start(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Start a condition's clock at its first batch."""
        if batch_idx == 0:
            self._seen, self._start = [], time.perf_counter()

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Predict one batch; the images that only fill up a rank's share are dropped."""
        predictions = self.model(batch.images).argmax(dim=1)
        self._seen.append(tuple(values[: batch.count] for values in (batch.indices, batch.labels, predictions)))
        if batch_idx + 1 == self.trainer.num_test_batches[dataloader_idx]:
            self._finish(self.conditions[dataloader_idx])

    def _finish(self, condition: Condition) -> None:
        mine = [torch.cat(values).cpu() for values in zip(*self._seen, strict=True)]
        index, label, prediction = (values.numpy() for values in _gather(mine, self.trainer.world_size))
        if self.results is None:
            return
        order = np.argsort(index)
        images = {"index": index[order], "label": label[order], "prediction": prediction[order]}
        images["wrong"] = images["label"] != images["prediction"]
        seconds = time.perf_counter() - self._start
        self.results.add(Row.of(condition, len(index), int(images["wrong"].sum()), seconds), images)


def list_conditions(config: dict[str, Any]) -> list[Condition]:
    """The conditions that the ``corruption`` and ``attack`` groups ask for; clean images always come first."""
    return [CLEAN]


def condition_loader(condition: Condition, data: ImageDataModule) -> ResidentLoader:
    """The images of a condition, in batches."""
    return data.test_dataloader()


def _gather(tensors: list[Tensor], world_size: int) -> list[Tensor]:
    if world_size == 1:
        return tensors
    shares: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(shares, tensors)
    return [torch.cat(parts) for parts in zip(*shares, strict=True)]
