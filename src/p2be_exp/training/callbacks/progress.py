"""Progress of a training: losses, learning rates, images per second, and the remaining time of the whole run."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from p2be_exp.system.pace import FIRST_LINE, NEXT_LINES, duration
from p2be_exp.training.callbacks.epoch_rows import EpochRows
from p2be_exp.training.module import TrainingModule

REFRESH = 0.5
"""Seconds between two updates on a terminal."""


class Progress(pl.callbacks.ProgressBar):
    """A bar over the whole run on a terminal; elsewhere one line per epoch, and one per minute in long epochs.

    An epoch ends with the numbers of its row. Within an epoch the numbers are those of this process, and marked so if
    there are several: the numbers of all would make every process wait for the others.

    Args:
        rows: the callback that writes the rows; it must come before this one.
    """

    def __init__(self, rows: EpochRows) -> None:
        super().__init__()
        self._rows = rows
        self._enabled = True
        self._terminal = sys.stderr.isatty()
        self._bar: tqdm | None = None

    def disable(self) -> None:
        """Lightning calls this on every rank but the first."""
        self._enabled = False

    def enable(self) -> None:
        """The opposite of :meth:`disable`."""
        self._enabled = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._steps = (trainer.max_epochs or 0) * int(trainer.num_training_batches)
        self._done = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        self._begin, self._first = time.monotonic(), self._done
        self._images, self._said = 0, self._begin - NEXT_LINES + FIRST_LINE
        if self._enabled and self._terminal:
            self._bar = tqdm(total=self._steps, initial=self._done, unit="step", dynamic_ncols=True, leave=True)
            self._bar.bar_format = "{l_bar}{bar}| {n_fmt}/{total_fmt} steps{postfix}"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: TrainingModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._done += 1
        self._images += batch.global_count
        now = time.monotonic()
        if not self._enabled or now - self._said < (REFRESH if self._terminal else NEXT_LINES):
            return
        losses = _named(pl_module.train_meter.local_means()) + " (first process)" * (trainer.world_size > 1)
        self._say(trainer, pl_module, f"step {batch_idx + 1}/{trainer.num_training_batches}", losses)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:
        if self._enabled:
            self._say(trainer, pl_module, "done", _named(self._rows.means))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _say(self, trainer: pl.Trainer, module: TrainingModule, where: str, losses: str) -> None:
        self._said = time.monotonic()
        epoch = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        rates = " ".join(f"lr/{name} {rate:.2g}" for name, rate in module.learning_rates().items())
        elapsed = self._said - self._begin
        speed = f"{self._images / elapsed:.0f} images/s"
        left = f"{duration(elapsed / (self._done - self._first) * (self._steps - self._done))} left"
        if self._bar is not None:
            self._bar.n = self._done
            self._bar.set_description_str(epoch, refresh=False)
            self._bar.set_postfix_str(f"{left}, {speed} | {losses} | {rates}", refresh=True)  # the end may be cut off
        elif not self._terminal:
            print(f"{epoch} {where}: {losses} | {rates} | {speed}, {left}", flush=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _named(means: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.3f}" for name, value in means.items())
