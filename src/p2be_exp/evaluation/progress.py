"""Progress of an evaluation of many conditions: how many are done, and the remaining time."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from p2be_exp.evaluation.module import EvaluationModule
from p2be_exp.system.pace import FIRST_LINE, NEXT_LINES, duration


class EvaluationProgress(pl.callbacks.ProgressBar):
    """A bar over all conditions on a terminal; elsewhere one line per minute."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: tqdm | None = None

    def disable(self) -> None:
        """Lightning calls this on every rank but the first."""
        self._enabled = False

    def enable(self) -> None:
        """The opposite of :meth:`disable`."""
        self._enabled = True

    def on_test_start(self, trainer: pl.Trainer, pl_module: EvaluationModule) -> None:
        self._total, self._done = sum(trainer.num_test_batches), 0
        self._begin = time.monotonic()
        self._last_line = self._begin - NEXT_LINES + FIRST_LINE
        if self._enabled and sys.stderr.isatty():
            self._bar = tqdm(total=self._total, unit="batch", dynamic_ncols=True, leave=False)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: EvaluationModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._done += 1
        condition = pl_module.conditions[dataloader_idx].id
        if self._bar is not None:
            self._bar.set_description_str(condition, refresh=False)
            self._bar.update()
            return
        now = time.monotonic()
        if self._enabled and now - self._last_line >= NEXT_LINES:
            self._last_line = now
            left = (now - self._begin) / self._done * (self._total - self._done)
            where = f"condition {dataloader_idx + 1}/{len(pl_module.conditions)}, {condition}"
            print(f"evaluating {where}: {duration(left)} left", flush=True)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
