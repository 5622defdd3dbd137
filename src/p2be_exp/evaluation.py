"""Evaluation: the LightningModule that measures one model under a list of conditions."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from p2be_exp.corruptions.images import CorruptedImages
from p2be_exp.data import Batch, ImageDataModule
from p2be_exp.results import CLEAN, Condition, Results, Row


class EvaluationModule(pl.LightningModule):
    """Predictions of a model under each condition, and their rows.

    ``Trainer.test`` runs it over one loader a condition, in the order of ``conditions``. When a condition's last batch
    is done its images are gathered from all ranks, each exactly once, and its row is written, with the seconds
    since the row before: reading or making its images is part of them.

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
        self._seen: list[tuple[Tensor, ...]] = []
        self._start = 0.0

    def on_test_start(self) -> None:
        """Start the first condition's clock."""
        self._seen, self._start = [], time.perf_counter()

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Predict one batch; the images that only fill up a rank's share are dropped."""
        confidence, prediction = self.model(batch.images).float().softmax(dim=1).max(dim=1)
        values = (batch.indices, batch.labels, prediction, confidence)
        self._seen.append(tuple(each[: batch.count] for each in values))
        if batch_idx + 1 == self.trainer.num_test_batches[dataloader_idx]:
            self._finish(self.conditions[dataloader_idx])

    def _finish(self, condition: Condition) -> None:
        mine = [torch.cat(values).cpu() for values in zip(*self._seen, strict=True)]
        gathered = _gather(mine, self.trainer.world_size)
        now = time.perf_counter()
        seconds, self._seen, self._start = now - self._start, [], now
        if self.results is None:
            return
        order = gathered[0].argsort()
        names = ("index", "label", "prediction", "confidence")
        images = {name: values[order].numpy() for name, values in zip(names, gathered, strict=True)}
        images["wrong"] = images["label"] != images["prediction"]
        self.results.add(Row.of(condition, len(order), int(images["wrong"].sum()), seconds), images)


def list_conditions(corrupted: CorruptedImages | None) -> list[Condition]:
    """The conditions of an evaluation: clean images first, then corruption by corruption, severities ascending."""
    cells = corrupted.plan.cells if corrupted is not None else []
    return [CLEAN, *(Condition("corruption", name, severity=severity) for name, severity in cells)]


def condition_loader(
    condition: Condition, data: ImageDataModule, corrupted: CorruptedImages | None = None
) -> Iterable[Batch]:
    """The images of a condition, in batches.

    Raises:
        BadInput: the corrupted images are not those of the data set.
    """
    if condition.kind == "corruption":
        return corrupted.loader(condition.name, condition.severity, data)
    return data.test_dataloader()


def _gather(tensors: list[Tensor], world_size: int) -> list[Tensor]:
    if world_size == 1:
        return tensors
    shares: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(shares, tensors)
    return [torch.cat(parts) for parts in zip(*shares, strict=True)]
