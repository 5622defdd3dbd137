"""What a Feature Pyramid Decoder's training restores, batch by batch, and the phase that each batch was in."""

from __future__ import annotations

import csv
import io
import os
from typing import Any, NamedTuple

import pytorch_lightning as pl

from p2be_exp.errors import BadInput
from p2be_exp.regimes.fpd import FPD
from p2be_exp.runs.run import Run
from p2be_exp.system.atomic import write_text
from p2be_exp.system.foreign_files import read_text
from p2be_exp.system.forms import unusable
from p2be_exp.training.module import TrainingModule

FILE = "restoration.csv"


class PhaseRow(NamedTuple):
    """One batch.

    Attributes:
        epoch, step: counted from 1; the step over all epochs, in batches.
        error: mean squared error of what was restored, before the batch's first step.
        joint: 1 where the classification was trained as well, and a second step followed; else 0.
    """

    epoch: int
    step: int
    error: float
    joint: int


class PhaseRows(pl.Callback):
    """Writes ``restoration.csv`` after every epoch; a resumed run drops what it trains again.

    The rows of the present epoch are in the checkpoint of a stop within it.

    Args:
        run: where the file is.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._rows: list[PhaseRow] = []
        self._present: list[PhaseRow] = []

    def state_dict(self) -> dict[str, Any]:
        """The rows of the present epoch."""
        return {"rows": [list(each) for each in self._present]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with saved rows."""
        self._present = [PhaseRow(*each) for each in state_dict["rows"]]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._rows = [each for each in read_phases(self.run) if each.epoch <= trainer.current_epoch]
        self._present = [each for each in self._present if each.epoch > trainer.current_epoch]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: TrainingModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        regime = pl_module.regime
        assert isinstance(regime, FPD)
        assert regime.phase is not None
        step = trainer.current_epoch * pl_module.batches_per_epoch + batch_idx + 1
        self._present.append(PhaseRow(trainer.current_epoch + 1, step, regime.phase.error, int(regime.phase.joint)))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._rows, self._present = [*self._rows, *self._present], []
        if trainer.is_global_zero:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([PhaseRow._fields, *self._rows])
            write_text(self.run.path / FILE, text.getvalue())


def read_phases(run: Run) -> list[PhaseRow]:
    """The rows of ``restoration.csv``; none if there is no file.

    Raises:
        BadInput: it is damaged, or cannot be read.
    """
    path = run.path / FILE
    if not os.path.lexists(path):
        return []
    try:
        header, *rows = csv.reader(io.StringIO(read_text(path), newline=""))
        if tuple(header) != PhaseRow._fields:
            raise ValueError(f"columns {', '.join(header)}")
        return [PhaseRow(int(epoch), int(step), float(error), int(joint)) for epoch, step, error, joint in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise BadInput(
            f"resume={run.path}: {FILE} {unusable(error)}; remove it to continue without its rows"
        ) from error
