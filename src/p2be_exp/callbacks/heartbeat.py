"""A sign of life in ``status.json``, since a killed process cannot say that it is gone."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl

from p2be_exp.runs import Run

INTERVAL = 15.0
"""Seconds between two signs of life."""


class Heartbeat(pl.Callback):
    """Writes state, epoch and time into ``status.json`` at every epoch, and every 15 seconds in between."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._last = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._beat(trainer, trainer.current_epoch)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if time.monotonic() - self._last > INTERVAL:
            self._beat(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._beat(trainer, trainer.current_epoch + 1)

    def _beat(self, trainer: pl.Trainer, epochs_done: int) -> None:
        self._last = time.monotonic()
        if trainer.is_global_zero:
            self.run.set_status("running", epochs_done=epochs_done, epochs=trainer.max_epochs)
