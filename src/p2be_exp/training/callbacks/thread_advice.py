"""One line where a single thread would train faster than the several that are in use, as on a busy machine."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from p2be_exp.data import Batch
from p2be_exp.training.module import TrainingModule
from p2be_exp.training.probes import WORTH_SAYING, single_thread_factor

AFTER = 3
"""Steps before it is looked at: the first ones set things up."""


class ThreadAdvice(pl.Callback):
    """After the first steps on a CPU, time several threads and one in turn, and say so where one is faster.

    Threads that compute together wait for the last one; where another job has its CPU, all of them wait for that. What
    is timed is a copy of the network: the training is as without it, to the bit.
    """

    def __init__(self) -> None:
        self._steps = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: TrainingModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._steps += 1
        threads = torch.get_num_threads()
        if self._steps != AFTER or threads == 1 or trainer.world_size > 1 or pl_module.device.type != "cpu":
            return
        with trainer.precision_plugin.forward_context():
            factor = single_thread_factor(pl_module.model, batch.images, batch.labels)
        if factor >= WORTH_SAYING:
            told = f"OMP_NUM_THREADS=1 would be {factor:.1f} times as fast here ({threads} threads are used)"
            print(f"threads: {told}", flush=True)
