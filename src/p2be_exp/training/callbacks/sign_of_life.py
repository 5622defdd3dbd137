"""A sign of life in ``status.json``, since a killed process cannot record its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytorch_lightning as pl

from p2be_exp.runs.run import Run

INTERVAL = 15.0
"""Seconds between two signs of life."""


class EpochsDone(pl.Callback):
    """Keeps the number of finished epochs in ``status.json``."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer, trainer.current_epoch + 1)

    def _write(self, trainer: pl.Trainer, epochs_done: int) -> None:
        if trainer.is_global_zero:
            self.run.set_status("running", epochs_done=epochs_done, epochs=trainer.max_epochs)


@contextmanager
def heartbeat(run: Run, going: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Renew the sign of life every 15 seconds from a thread while the block runs.

    Args:
        run: whose status is renewed.
        going: whether the job makes progress; while it waits for a stopped rank, there is no sign of life.
    """
    over = threading.Event()

    def beat() -> None:
        while not over.wait(INTERVAL):
            if going():
                run.renew_status()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
