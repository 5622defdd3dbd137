"""One row per epoch in ``metrics.csv``; the loggers get the same row."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from typing import Any, cast

import pytorch_lightning as pl

from p2be_exp.errors import BadInput, Diverged
from p2be_exp.runs.run import Run
from p2be_exp.system.atomic import write_text
from p2be_exp.system.foreign_files import read_text
from p2be_exp.system.forms import unusable
from p2be_exp.training.callbacks.watch import count_error
from p2be_exp.training.module import TrainingModule

TIMINGS = ("seconds", "images_per_second")
"""Columns in which two equal runs may differ."""


class EpochRows(pl.Callback):
    """Collects an epoch's numbers, writes the row, and stops a training whose loss is not finite.

    The whole file is replaced after every epoch, so it is never incomplete; a resumed run drops the rows of epochs that
    it trains again.

    Args:
        run: where ``metrics.csv`` is.
        watch_every: number of epochs between two measurements of the test error, which nothing depends on; 0 for never.

    Attributes:
        means: of the loss, its terms and the error in the last finished epoch, over the images of all ranks.
    """

    def __init__(self, run: Run, watch_every: int = 0) -> None:
        self.run, self.watch_every = run, watch_every
        self.means: dict[str, float] = {}
        self._start = 0.0
        self._images = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        rows = [row for row in read_rows(self.run) if int(row["epoch"]) <= trainer.current_epoch]
        self._rows: list[dict[str, Any]] = rows
        self._start, self._images = time.perf_counter(), 0  # a resume within an epoch has no epoch start

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start, self._images = time.perf_counter(), 0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._images += batch.global_count

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:
        self.means = pl_module.train_meter.means()  # waits for the device, so that the time covers the work
        seconds = time.perf_counter() - self._start
        epoch = trainer.current_epoch + 1
        row: dict[str, Any] = {"epoch": epoch, "step": trainer.global_step}
        row |= {f"train/{name}": value for name, value in self.means.items()}
        pl_module.train_meter.reset()
        if pl_module.val_error is not None:
            row["val/error"] = pl_module.val_error
        if self.watch_every and epoch % self.watch_every == 0:
            row["test/error"] = count_error(pl_module, cast("Any", trainer).datamodule.test_dataloader())
        row |= {f"lr/{name}": rate for name, rate in pl_module.learning_rates().items()}
        row |= {f"table/{name}": value for name, value in pl_module.table_statistics().items()}
        row |= {"seconds": round(seconds, 3), "images_per_second": round(self._images / seconds, 1)}
        self._publish(trainer, row)
        for name, value in self.means.items():  # the loss first; the terms of later steps are not part of it
            if not math.isfinite(value):
                what = "the loss" if name == "loss" else f"the loss term {name}"
                raise Diverged(f"{what} is {value} in epoch {epoch}; lower optim.lr or set optim.clip_norm")

    def _publish(self, trainer: pl.Trainer, row: dict[str, Any]) -> None:
        if not trainer.is_global_zero:
            return
        self._rows.append(row)
        write_rows(self.run, self._rows)
        for logger in trainer.loggers:
            logger.log_metrics({key: value for key, value in row.items() if key != "step"}, step=trainer.global_step)


def read_rows(run: Run) -> list[dict[str, str]]:
    """The rows of ``metrics.csv``; none if there is no file yet.

    Raises:
        BadInput: it is damaged, or cannot be read.
    """
    if not os.path.lexists(run.metrics_file):
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(run.metrics_file), newline="")))
        if any(int(row["epoch"]) < 1 or None in row or None in row.values() for row in rows):
            raise ValueError("a row of another length, or of no epoch")
    except (KeyError, OSError, TypeError, ValueError, csv.Error) as error:
        raise BadInput(
            f"resume={run.path}: metrics.csv {unusable(error)}; remove it to continue without its rows"
        ) from error
    return rows


def write_rows(run: Run, rows: list[dict[str, Any]]) -> None:
    """Write ``metrics.csv`` with the columns of all rows, empty where a row has none; the timings come last."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns.sort(key=lambda name: name in TIMINGS)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(run.metrics_file, text.getvalue())
