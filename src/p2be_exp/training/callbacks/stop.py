"""Stopping a training between two steps, once a signal has come (see :mod:`p2be_exp.system.stop_signals`)."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from p2be_exp.errors import Interrupted
from p2be_exp.runs.run import Run
from p2be_exp.system.stop_signals import StopSignals


class StopOnSignal(pl.Callback):
    """After a signal, finish the step, save in the middle of the epoch and stop.

    All ranks agree before they stop, so it does not matter which of them the signal reached.
    """

    def __init__(self, run: Run, signals: StopSignals) -> None:
        self.run, self.signals = run, signals

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.signals.listen()  # by now another trainer may have installed Lightning's handler of SIGTERM
        self.signals.deferred = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.signals.deferred = False
        if number := self._agreed(trainer):  # during the very last step, before the evaluation
            raise Interrupted(number)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.signals.deferred = False
        if isinstance(exception, Interrupted) and exception.waiting:
            done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
            if 0 < done < trainer.num_training_batches and done % trainer.accumulate_grad_batches == 0:
                trainer.save_checkpoint(self.run.checkpoint("last"))

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # The signal came after the last step of an epoch, which has been saved as a whole.
        if number := self._agreed(trainer):
            raise Interrupted(number)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = batch_idx + 1
        last = done == trainer.num_training_batches
        between_steps = done % trainer.accumulate_grad_batches == 0
        if last or not between_steps:
            return
        if number := self._agreed(trainer):
            trainer.save_checkpoint(self.run.checkpoint("last"))
            raise Interrupted(number)

    def _agreed(self, trainer: pl.Trainer) -> int:
        received = self.signals.received or 0
        if trainer.world_size > 1:
            flag = torch.tensor(received, device=trainer.strategy.root_device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            received = int(flag)
        return received
