"""Advice in one line if a single thread would train faster than the threads in use, as on a busy machine."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from p2be_exp.data import Batch
from p2be_exp.training.module import TrainingModule
from p2be_exp.training.probes import WORTH_SAYING, single_thread_factor

AFTER = 3
"""Steps before the measurement; the first ones are slower."""


class ThreadAdvice(pl.Callback):
    """After the first steps on a CPU, time several threads and one in turn, and report if one is faster.

    Threads that compute together wait for the slowest; if another job occupies its CPU, all of them wait. A copy of the
    network is timed, so the training is bit-identical to one without this callback.
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
            advice = f"OMP_NUM_THREADS=1 would be {factor:.1f} times as fast here ({threads} threads are used)"
            print(f"threads: {advice}", flush=True)
