"""Stopping a training between two steps, once a signal has come (see :mod:`p2be_exp.system.stop_signals`)."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch

from p2be_exp.errors import Interrupted
from p2be_exp.runs.run import Run
from p2be_exp.system.stop_signals import StopSignals

AGREE_EVERY = 1.0
"""Seconds between two agreements of ranks on GPUs, about: each waits for the device, and for the slowest rank."""
MOST_STEPS = 200
"""Steps between two agreements at most, so that ranks that slow down still agree soon."""


class StopOnSignal(pl.Callback):
    """After a signal, finish the step, save in the middle of the epoch and stop.

    All ranks agree before they stop, so it does not matter which of them the signal reached: on CPUs after every step,
    on GPUs about once a second, and at the start of every epoch.
    """

    def __init__(self, run: Run, signals: StopSignals) -> None:
        self.run, self.signals = run, signals
        self._pace = Pace()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._pace = Pace()
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
        self._pace.steps += 1
        between_steps = done % trainer.accumulate_grad_batches == 0
        if last or not between_steps:
            return
        if trainer.world_size > 1 and trainer.strategy.root_device.type != "cpu" and not self._pace.due:
            return
        if number := self._agreed(trainer):
            trainer.save_checkpoint(self.run.checkpoint("last"))
            raise Interrupted(number)

    def _agreed(self, trainer: pl.Trainer) -> int:
        received = self.signals.received or 0
        if trainer.world_size > 1:
            told = torch.tensor([float(received), self._pace.seconds()], device=trainer.strategy.root_device)
            torch.distributed.all_reduce(told, op=torch.distributed.ReduceOp.MAX)
            signal, slowest = told.tolist()
            self._pace.begin(slowest)
            received = int(signal)
        return received


class Pace:
    """After how many steps ranks agree again: as many on all of them, from the slowest rank's time for a step.

    Attributes:
        steps: since they last agreed.
    """

    def __init__(self) -> None:
        self.steps, self._wanted = 0, 1
        self._began = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to agree."""
        return self.steps >= self._wanted

    def seconds(self) -> float:
        """For a step since they last agreed, on this rank."""
        return (time.monotonic() - self._began) / max(1, self.steps)

    def begin(self, slowest: float) -> None:
        """Begin to count, once they have agreed.

        Args:
            slowest: the largest of all ranks' :meth:`seconds`.
        """
        often = max(1, min(MOST_STEPS, round(AGREE_EVERY / max(slowest, 1e-6))))
        self._wanted = often if self.steps else 1  # of no step nothing is known
        self.steps, self._began = 0, time.monotonic()
