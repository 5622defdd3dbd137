"""The published method's training: its network, views and loss in a loop without a framework."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.step.parts import BACKWARD, LOSS, OPTIMIZERS, STEM, TRUNK, VIEWS, WAITING, Parts
from benchmarks.step.published_net import PublishedNet, published_loss
from benchmarks.step.published_views import WORKERS, PillowViews, pillow_loader
from benchmarks.turns import synchronize

VIEWS_OF = {"standard": 1, "augmix": 3}
"""The regimes that there is a plain form of, and how many views of an image they take."""


class Recipe(NamedTuple):
    """What a training is made with; by default for steps that are timed, at a rate that moves little.

    Attributes:
        lr, table_lr: at the start of a cosine.
        steps: of the cosine.
        lambda_smooth: weight of the smoothness.
    """

    lr: float = 0.001
    table_lr: float = 1e-4
    steps: int = 200 * 391
    lambda_smooth: float = 1.0


class PublishedTraining:
    """Steps of the published method, float32 as there is nothing else in it.

    Args:
        encoding, backbone: see :class:`PublishedNet`.
        regime: one of :data:`VIEWS_OF`.
        images, labels: of one round: as many as its steps take, and a batch more.
        batch_size: images a step.
        classes: number of classes.
        device: where to.
        workers: processes that make views; 0: this one.
        recipe: learning rates and length.
    """

    def __init__(
        self,
        encoding: str,
        backbone: str,
        regime: str,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        classes: int,
        device: torch.device,
        workers: int = WORKERS,
        recipe: Recipe | None = None,
    ) -> None:
        torch.manual_seed(0)
        recipe = recipe or Recipe()
        self.lambda_smooth = recipe.lambda_smooth
        self.device, self.views = device, VIEWS_OF[regime]
        self.net = PublishedNet(encoding, backbone, classes).to(device).train()
        of_table = [] if self.net.embedding is None else [self.net.embedding]
        others = [each for each in self.net.parameters() if each is not self.net.embedding]
        self.optimizers = [SGD(others, lr=recipe.lr, momentum=0.9, nesterov=True, weight_decay=5e-4)]
        if of_table:
            self.optimizers.append(AdamW(of_table, lr=recipe.table_lr, betas=(0.999, 0.999), weight_decay=1e-4))
        self.schedules = [LambdaLR(each, partial(_cosine, total=recipe.steps)) for each in self.optimizers]
        self.loader = pillow_loader(PillowViews(images, labels, self.views - 1), batch_size, device, workers)
        self.parts = Parts()
        self._others = {each.pid for each in multiprocessing.active_children()}

    @torch.enable_grad()
    def round(self, steps: int, meter: Callable[[], float], with_workers: bool = False) -> dict[str, float]:
        """What ``steps`` steps take by part, after one that does not count, in which the loader begins.

        Args:
            steps: as many as there are images for, or fewer.
            meter: see :meth:`Parts.begin`.
            with_workers: add the processor's seconds of the loader's processes to the views.
        """
        before = self._seconds_of_workers() if with_workers else 0.0
        batches = iter(self.loader)
        with published_kernels(self.device):
            self.step(next(batches))
            synchronize(self.device)
            self.parts.begin(meter)
            for _ in range(steps):
                with self.parts.of(WAITING):
                    batch = next(batches)
                self.step(batch)
            synchronize(self.device)
            found = self.parts.end()
        if with_workers:
            made = len(self.loader)  # all of the epoch's, some of them before the first step that counts
            found[VIEWS] += (self._seconds_of_workers() - before) * steps / made
        return found

    def _seconds_of_workers(self) -> float:
        pids = {each.pid for each in multiprocessing.active_children()} - self._others
        return sum(processor_seconds(pid) for pid in pids if pid is not None)

    def step(self, batch: Any) -> None:
        """One step on a batch of the loader."""
        with self.parts.of(VIEWS):
            views, labels = batch
            images = torch.cat(views).to(self.device, non_blocking=True)
            labels = labels.to(self.device, non_blocking=True)
        with self.parts.of(STEM):
            features = self.net.stem(images)
        with self.parts.of(TRUNK):
            logits = self.net.trunk(features)
        with self.parts.of(LOSS):
            loss = published_loss(self.net, logits, labels, self.views, self.lambda_smooth)
        with self.parts.of(OPTIMIZERS):
            for optimizer in self.optimizers:
                optimizer.zero_grad()
        with self.parts.of(BACKWARD):
            loss.backward()
        with self.parts.of(OPTIMIZERS):
            for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
                optimizer.step()
                schedule.step()


def processor_seconds(pid: int) -> float:
    """The processor's time of a process so far (Linux).

    Raises:
        OSError: there is no such process.
    """
    return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid gives


@contextmanager
def published_kernels(device: torch.device) -> Iterator[None]:
    """PyTorch's defaults on a GPU and the fastest convolutions, as the published code has them; then ours again."""
    if device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.get_float32_matmul_precision()
    before = cudnn.benchmark, cudnn.allow_tf32
    cudnn.benchmark = cudnn.allow_tf32 = True
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.allow_tf32 = before
        torch.set_float32_matmul_precision(matmul)


def _cosine(step: int, total: int) -> float:
    return 1e-5 + (1 - 1e-5) * 0.5 * (1 + math.cos(math.pi * step / total))
