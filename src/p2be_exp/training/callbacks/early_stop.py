"""The end of a training that no longer gets better: ``early_stop``."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl

from p2be_exp.runs.run import Run
from p2be_exp.system.output import for_terminal
from p2be_exp.training.module import TrainingModule


class EarlyStop(pl.Callback):
    """Ends a training after a number of epochs without a validation error below the best one so far.

    The error is that over all images of all ranks, so that all of them stop. What has been seen is part of every
    checkpoint: a resumed training stops after the same epoch, and one that has stopped is not gone on with.

    Args:
        run: whose ``run.json`` keeps when and why it was stopped.
        patience: number of such epochs.
    """

    def __init__(self, run: Run, patience: int) -> None:
        self.run, self.patience = run, patience
        self.best, self.best_epoch, self.since = math.inf, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """The lowest error so far in percent, its epoch, and how many epochs have come since."""
        return {"best": self.best, "best_epoch": self.best_epoch, "since": self.since}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a checkpoint holds."""
        self.best, self.best_epoch, self.since = (state_dict[key] for key in ("best", "best_epoch", "since"))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._over:  # a resume of a run that has stopped
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: TrainingModule) -> None:
        error, epoch = pl_module.val_error, trainer.current_epoch + 1
        assert error is not None  # there is a validation split
        if error < self.best:
            self.best, self.best_epoch, self.since = error, epoch, 0
        else:
            self.since += 1
        if not self._over:
            return
        trainer.should_stop = True
        if trainer.is_global_zero:
            self.run.add_facts(stopped_early={"epoch": epoch, "best_epoch": self.best_epoch, "val_error": self.best})
            print(for_terminal(self._line(epoch, trainer.max_epochs)), flush=True)

    @property
    def _over(self) -> bool:
        return self.since >= self.patience

    def _line(self, epoch: int, epochs: int | None) -> str:
        return (
            f"early_stop={self.patience}: stopped after epoch {epoch} of {epochs}; the lowest validation error, "
            f"{self.best:.2f} %, was that of epoch {self.best_epoch}"
        )
