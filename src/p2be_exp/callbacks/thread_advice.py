"""One line where a single thread would train faster than the several that are in use, as on a busy machine."""

from __future__ import annotations

import copy
import statistics
import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from p2be_exp.data import Batch
from p2be_exp.training import TrainingModule

AFTER = 3
"""Steps before it is looked at: the first ones set things up."""
IMAGES = 16
"""Images of a probe, at most."""
ROUNDS = 3
WORTH_SAYING = 1.25
"""One thread has to be faster by this factor: times differ by as much for no reason."""


class ThreadAdvice(pl.Callback):
    """After the first steps on a CPU, time several threads and one in turn, and say so where one is faster.

    Threads that compute together wait for the last one; where another job has its CPU, all of them wait for that. What
    is timed is a forward and backward pass of a copy of the network: the training is as without it, to the bit.
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
        with trainer.precision_plugin.forward_context(), torch.random.fork_rng(devices=[]):
            factor = single_thread_factor(pl_module, batch)
        if factor >= WORTH_SAYING:
            told = f"OMP_NUM_THREADS=1 would be {factor:.1f} times as fast here ({threads} threads are used)"
            print(f"threads: {told}", flush=True)


def single_thread_factor(module: TrainingModule, batch: Batch) -> float:
    """How many times as fast one thread is as those that are in use: the median over rounds in turn."""
    model = copy.deepcopy(module.model)
    images, labels = batch.images[:IMAGES], batch.labels[:IMAGES]
    threads = torch.get_num_threads()
    ratios = []
    try:
        with torch.enable_grad():
            for _ in range(ROUNDS):
                several, one = (_seconds(model, images, labels, number) for number in (threads, 1))
                ratios.append(several / one)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(ratios)


def _seconds(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, threads: int) -> float:
    torch.set_num_threads(threads)
    start = time.perf_counter()
    F.cross_entropy(model(images), labels).backward()
    return time.perf_counter() - start
