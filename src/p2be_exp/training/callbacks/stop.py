"""Stopping on SIGINT, SIGTERM or SIGHUP, under Slurm on its signals too, without losing what was computed."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch

from p2be_exp.errors import Interrupted
from p2be_exp.runs.run import Run
from p2be_exp.system.signals import stop_signals
from p2be_exp.system.watch import Watch


class StopSignals:
    """Listens to :func:`~p2be_exp.system.signals.stop_signals` while it is entered.

    Outside a training loop a signal raises :class:`Interrupted` at once. Inside (``deferred``) it is noted, so that the
    step can be finished and saved; a second one raises at once. SIGHUP is never that second one: a shell whose terminal
    is gone passes it on, and the system sends its own.

    Where the main thread hears nothing, in a wait inside of a library, a thread ends the process at the second signal.

    Attributes:
        received: the signal that was noted, None before.
        deferred: whether a signal is noted instead of raised.
        watch: the thread.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.deferred = False
        self.watch = Watch(lambda: self.deferred)
        self._stopping = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        self.listen()
        self.watch.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.watch.__exit__(*error)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def listen(self) -> None:
        """Take the signals (again, after a library took them)."""
        for number in stop_signals():
            before = signal.signal(number, self._note)
            self._before.setdefault(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.watch.heard()
        if number == signal.SIGTERM and (reason := self.watch.asked_to_end()) is not None:
            if sys.exc_info()[1] is None:  # else this rank is on its way out already
                raise reason
            return
        if self._stopping and number == signal.SIGHUP:
            return
        self._stopping = True
        if not self.deferred or self.received is not None:
            raise Interrupted(number)
        self.received = number
        name = signal.Signals(number).name
        with suppress(OSError):  # nobody reads it any more
            # Not print: the signal may have come in the middle of one, and it cannot be entered twice.
            os.write(1, f"\n{name}: finishing the step, then saving (once more: stop at once)\n".encode())


class StopOnSignal(pl.Callback):
    """Save in the middle of an epoch and stop, once the step that a signal came in is finished.

    All ranks agree before they stop, so it does not matter which of them the signal reached.
    """

    def __init__(self, run: Run, signals: StopSignals) -> None:
        self.run, self.signals = run, signals

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.signals.listen()  # a trainer of somebody else's has put Lightning's handler of SIGTERM in place by now
        self.signals.deferred = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.signals.deferred = False
        if number := self._agreed(trainer):  # in the very last step; the evaluation is still to come
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
