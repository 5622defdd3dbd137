"""Estimated duration of a job, from a few steps on this machine."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from p2be_exp.attacks import Attack
from p2be_exp.config.schema import CorruptionConfig, SomeCorruptionConfig, SuiteConfig, TrainConfig, TransferConfig
from p2be_exp.config.typed import plain
from p2be_exp.corruptions.names import select_names, select_severities
from p2be_exp.data import Batch, source_class
from p2be_exp.data.source import Size
from p2be_exp.evaluation.attack_plan import plan_attacks
from p2be_exp.system.trainer import on_gpu, precision_of, set_arithmetic
from p2be_exp.training.module import TrainingModule

_STEPS = 3  # the median counts


@dataclass(frozen=True)
class Seconds:
    """Seconds per image: of a training step, of a prediction, of a prediction with a gradient."""

    step: float
    forward: float
    gradient: float


class Estimator:
    """Estimates the duration of jobs; each kind of network and regime is measured once.

    Decoding, corrupting, starting and writing are not counted, nor that attacks skip images that are already broken,
    nor that a suite repeats the attack that decides.
    """

    def __init__(self) -> None:
        self._measured: dict[str, Seconds] = {}

    def __call__(self, config: TrainConfig) -> float | None:
        """Seconds to train and evaluate a resolved configuration; None for a data set of unknown size."""
        size = source_class(config.dataset.name).published
        if size is None:
            return None
        each = self._seconds(config, size)
        train = config.limit_train or size.train - config.dataset.val_size
        test = config.limit_test or size.test
        attacks = planned(config)
        forwards = 1 + _cells(config.corruption) + sum(1 + each.work.forwards for each in attacks)
        gradients = sum(each.work.gradients for each in attacks)
        return config.epochs * train * each.step + test * (forwards * each.forward + gradients * each.gradient)

    def _seconds(self, config: TrainConfig, size: Size) -> Seconds:
        parts = (config.backbone, config.model, config.regime, config.trainer)
        of_network = {**plain(config.encoding), "table_from": None}
        kind = json.dumps([of_network, *map(plain, parts), size.classes, size.side], sort_keys=True)
        if kind not in self._measured:
            self._measured[kind] = measure(config, size)
        return self._measured[kind]


def planned(config: TrainConfig) -> list[Attack]:
    """The attacks of a configuration, except transfers from another run."""
    attack = config.attack
    if isinstance(attack, TransferConfig):
        return []
    if isinstance(attack, SuiteConfig):
        attack = dataclasses.replace(attack, source=None)
    return plan_attacks(attack, config.encoding_names)


def measure(config: TrainConfig, size: Size) -> Seconds:
    """Time real steps on random images, with a small batch on a CPU."""
    device = torch.device("cuda" if on_gpu(config.trainer) else "cpu")
    batch_size = config.batch_size if device.type == "cuda" else min(config.batch_size, 16 if size.side < 64 else 2)
    with torch.random.fork_rng():
        module = TrainingModule(config, size.classes, batches_per_epoch=1).to(device)
        images = torch.randint(256, (batch_size, 3, size.side, size.side)).to(device, torch.uint8)
        labels = torch.randint(size.classes, (batch_size,)).to(device)
        batch = Batch(images, labels, torch.arange(batch_size, device=device), batch_size, batch_size, 1.0)
        optimizer = module.configure_optimizers()["optimizer"]
        lowered = precision_of(config.trainer) == "bf16-mixed"
        set_arithmetic(config.trainer, tf32=lowered)

        def step() -> None:
            with torch.autocast(device.type, dtype=torch.bfloat16) if lowered else nullcontext():
                _, loss, _ = module.loss_terms(batch, epoch=0)
            optimizer.zero_grad()
            loss.backward()
            module.on_after_backward()
            optimizer.step()

        def forward() -> None:
            with torch.no_grad():
                module.model(images)

        def gradient() -> None:
            module.model(images).sum().backward()

        seconds = _timed(step, device)
        module.eval()
        return Seconds(*(each / batch_size for each in (seconds, _timed(forward, device), _timed(gradient, device))))


def _timed(call: Callable[[], None], device: torch.device) -> float:
    call()
    times = []
    for _ in range(_STEPS):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _cells(corruption: CorruptionConfig) -> int:
    if not isinstance(corruption, SomeCorruptionConfig):
        return 0
    return len(select_names(corruption.names)) * len(select_severities(corruption.severities))
