"""The loss terms of single steps, to the loggers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from p2be_exp.training.meter import EpochMeter
from p2be_exp.training.module import TrainingModule


class StepLog(pl.Callback):
    """The loss terms of every n-th step to the loggers, as ``step/...``: means over the images of all ranks.

    A regime that takes several steps on a batch has its terms in one record. Every rank must have this callback; rank 0
    alone has loggers.

    Args:
        every_n_steps: of each of the trainer's loggers, in their order.
    """

    def __init__(self, every_n_steps: Sequence[int]) -> None:
        self.every_n_steps = every_n_steps
        self._last = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: TrainingModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        stepped, self._last = trainer.global_step != self._last, trainer.global_step  # not every batch, accumulating
        due = [trainer.global_step % every == 0 for every in self.every_n_steps]
        if stepped and any(due):
            means = _over_all_ranks(pl_module.last_terms, pl_module.last_counts)
            values = {**{f"step/{name}": value for name, value in means.items()}, "epoch": trainer.current_epoch}
            for logger, takes in zip(trainer.loggers, due, strict=False) if means else ():  # no logger but on rank 0
                if takes:
                    logger.log_metrics(values, step=trainer.global_step)


def _over_all_ranks(terms: dict[str, Tensor], counts: dict[str, int]) -> dict[str, float]:
    """The means of a step, without those of no image; none at all where no image could be read."""
    meter = EpochMeter()
    for name, term in terms.items():
        meter.add({name: term}, counts[name])
    state = meter.state_dict()
    totals = state.get("counts", [state["count"]] * len(terms))
    sums = zip(state["names"], state["sums"].tolist(), totals, strict=True)
    return {name: value / count for name, value, count in sums if count}
