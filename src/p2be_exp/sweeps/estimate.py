"""Estimated duration and memory of a job, from a few steps on this machine."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from p2be_exp.attacks import Attack
from p2be_exp.attacks.nearest import NearestAttack
from p2be_exp.config.parts import part_config
from p2be_exp.config.schema import (
    CorruptionConfig,
    FPDConfig,
    SomeCorruptionConfig,
    SuiteConfig,
    TrainConfig,
    TransferConfig,
)
from p2be_exp.config.typed import plain
from p2be_exp.corruptions.names import select_names, select_severities
from p2be_exp.data import Batch, source_class
from p2be_exp.data.source import LevelSource, Size
from p2be_exp.evaluation.attack_plan import plan_attacks, plan_nearest
from p2be_exp.regimes import When
from p2be_exp.registry import option
from p2be_exp.sweeps.operations import operations
from p2be_exp.system.memory import HeldBytes
from p2be_exp.system.trainer import on_gpu, precision_of, set_arithmetic
from p2be_exp.training.module import TrainingModule

_STEPS = {"cpu": 1, "cuda": 3}  # behind one that is not counted; the median counts
_BATCH = 4  # images on a CPU, whose time grows with the batch from the start; 2 of large ones
_PATIENCE = 6.0  # seconds of measuring; what is asked for later is derived from the operations
_ON_HOST = 1.25  # a process's memory for its tensors: WRN-40-2 of batch 128 had 1.3 to 1.5 times theirs


@dataclass(frozen=True)
class Seconds:
    """Seconds per image: of a training step, of a prediction, of a prediction with a gradient; and a training's bytes.

    Attributes:
        kept: bytes that stay from step to step: weights, batch norms, states of optimizers; None: not measured.
        per_image: bytes beside them at most in a step, for each image of its batch.
    """

    step: float
    forward: float
    gradient: float
    kept: float | None = None
    per_image: float = 0.0


class Estimator:
    """Estimates the duration of jobs; each kind of network and regime is measured once.

    Decoding, corrupting, starting and writing are not counted, nor that attacks skip images that are already broken,
    nor that a suite repeats the attack that decides.

    Measuring ends after a while. A kind that is asked for then has the seconds of one that was measured with the same
    regime, times the ratio of their operations. Its memory is that of one with the same backbone, or not known.

    Args:
        patience: seconds of measuring.

    Attributes:
        derived: how many kinds have not been measured.
    """

    def __init__(self, patience: float = _PATIENCE) -> None:
        self.derived = 0
        self._patience = patience
        self._known: dict[str, Seconds] = {}
        self._of_regime: dict[str, list[_Measured]] = {}

    def __call__(self, config: TrainConfig) -> float | None:
        """Seconds to train and evaluate a resolved configuration.

        None for a data set of unknown size, for a mixture whose parts are not known, and for one that is trained.
        """
        size = source_class(config.dataset.name).published
        if size is None or (config.model.roles and (config.model.parts is None or config.regime.trains)):
            return None
        each = self._seconds(config, size)
        train = config.limit_train or size.train - config.dataset.val_size
        test = config.limit_test or size.test
        attacks = planned(config)
        attacked = config.limit_attack or test
        forwards = test * (1 + _cells(config.corruption)) + attacked * sum(1 + each.work.forwards for each in attacks)
        gradients = attacked * sum(each.work.gradients for each in attacks)
        return config.epochs * train * each.step + forwards * each.forward + gradients * each.gradient

    def memory(self, config: TrainConfig) -> float | None:
        """Bytes that the training of a resolved configuration takes at its peak.

        None for a data set of unknown size, where nothing is trained or a mixture is, and of a kind that has not been
        measured.

        On a GPU, of the device: PyTorch's reserve, resident images, and what a process takes before any tensor. On a
        CPU, of the process: tensors and a share for what libraries and malloc take beside them, images, and Python.
        """
        source = source_class(config.dataset.name)
        if (size := source.published) is None or not config.regime.trains or config.model.roles:
            return None
        each = self._seconds(config, size)
        if each.kept is None:
            return None
        images = (config.limit_train or size.train) + (config.limit_test or size.test)
        resident = 3 * size.side**2 * images if issubclass(source, LevelSource) else 0
        gpu = on_gpu(config.trainer)
        step = config.batch_size * each.per_image * (1.0 if gpu else _ON_HOST)
        return each.kept + step + resident + process_bytes(gpu)

    def _seconds(self, config: TrainConfig, size: Size) -> Seconds:
        if config.model.roles:
            each = [self._seconds(part_config(config, role), size) for role in config.model.roles]
            return Seconds(0.0, sum(part.forward for part in each), sum(part.gradient for part in each))
        if (kind := _kind(config, size)) not in self._known:
            self._known[kind] = self._measured(config, size)
        return self._known[kind]

    def _measured(self, config: TrainConfig, size: Size) -> Seconds:
        regime = json.dumps([plain(config.regime), plain(config.trainer)], sort_keys=True)
        before = self._of_regime.setdefault(regime, [])
        if self._patience <= 0 and before:
            self.derived += 1
            like = [each for each in before if each.config.backbone == config.backbone and each.size == size]
            return _scaled(*(like or before)[0], config, size)
        start = time.perf_counter()
        found = measure(config, size)
        self._patience -= time.perf_counter() - start
        before.append(_Measured(config, size, found))
        return found


class _Measured(NamedTuple):
    config: TrainConfig
    size: Size
    seconds: Seconds


def _kind(config: TrainConfig, size: Size) -> str:
    """What the seconds and bytes of an image depend on."""
    encoding = config.encoding
    # Tables that nothing learns differ by their values alone.
    of_table = [encoding.M] if option("encoding", encoding.name).buckets else {**plain(encoding), "table_from": None}
    parts = (config.backbone, config.model, config.regime, config.trainer)
    # The fastest convolutions of a GPU, and their memory, depend on the batch.
    batch = config.batch_size if on_gpu(config.trainer) else None
    return json.dumps([of_table, *map(plain, parts), size.classes, size.side, batch], sort_keys=True)


def _scaled(measured: TrainConfig, its_size: Size, its: Seconds, config: TrainConfig, size: Size) -> Seconds:
    """Seconds by the operations of two networks; bytes where they differ by what they read alone."""
    ratio = operations(config, size) / operations(measured, its_size)
    alike = measured.backbone == config.backbone and its_size == size
    return replace(its, step=ratio * its.step, forward=ratio * its.forward, gradient=ratio * its.gradient,
                   kept=its.kept if alike else None)  # fmt: skip


def planned(config: TrainConfig) -> list[Attack | NearestAttack]:
    """The attacks of a configuration, except transfers from another run."""
    attack = config.attack
    if isinstance(attack, TransferConfig):
        return []
    if isinstance(attack, SuiteConfig):
        attack = dataclasses.replace(attack, source=None)
    model = config.model
    parts, hides = model.part_encodings(), model.hides_logits
    attacks = plan_attacks(attack, config.encoding_names, parts=parts, gated=model.gated, hides_logits=hides)
    return [*attacks, *plan_nearest(attack)]


def measure(config: TrainConfig, size: Size) -> Seconds:
    """Time real steps on random images, with a small batch on a CPU; where nothing is trained, there is no step."""
    device = torch.device("cuda" if on_gpu(config.trainer) else "cpu")
    batch_size = config.batch_size if device.type == "cuda" else min(config.batch_size, _BATCH if size.side < 64 else 2)
    reserve = _reserve(device)
    if isinstance(config.regime, FPDConfig):  # both steps of a batch, which all but the first ones have
        config = dataclasses.replace(config, regime=dataclasses.replace(config.regime, threshold=math.inf))
    with torch.random.fork_rng():
        module = TrainingModule(config, size.classes, batches_per_epoch=1).to(device)
        images = torch.randint(256, (batch_size, 3, size.side, size.side)).to(device, torch.uint8)
        labels = torch.randint(size.classes, (batch_size,)).to(device)
        batch = Batch(images, labels, torch.arange(batch_size, device=device), batch_size, batch_size, 1.0)
        optimizer = module.configure_optimizers()["optimizer"]
        lowered = precision_of(config.trainer) == "bf16-mixed"
        set_arithmetic(config.trainer, tf32=lowered)

        def step() -> None:
            losses, more = module.losses_of(batch, When(0, 0)), True
            while more:
                with torch.autocast(device.type, dtype=torch.bfloat16) if lowered else nullcontext():
                    _, loss, result = next(losses)
                optimizer.zero_grad()
                loss.backward()
                module.on_after_backward()
                optimizer.step()
                more = result.more

        def forward() -> None:
            with torch.no_grad():
                module.model(images)

        def gradient() -> None:
            module.model(images).sum().backward()

        trains, on_host = config.regime.trains, device.type != "cuda"
        most = _beside(step, module) if trains and on_host else 0.0  # its step is the one that is not counted
        seconds = _timed(step, device, unwarmed=not on_host) if trains else 0.0
        kept = _kept(module, optimizer)
        beside = most if on_host else max(0.0, reserve() - kept)
        module.eval()
        step_time, forward_time, gradient_time = (
            each / batch_size
            for each in (seconds, _timed(forward, device, not trains), _timed(gradient, device, not trains))
        )
        return Seconds(step_time, forward_time, gradient_time, kept, beside / batch_size)


def process_bytes(gpu: bool) -> int:
    """Bytes that a process of ours takes before any tensor: of a GPU its context, of the host Python and libraries."""
    return 2**29 if gpu else 9 * 2**30 // 10


def _kept(module: TrainingModule, optimizer: torch.optim.Optimizer) -> int:
    """Bytes of weights, their gradients, batch norms, and states of the optimizers."""
    states = [each for state in optimizer.state.values() for each in state.values() if isinstance(each, Tensor)]
    weights = sum(each.nbytes for each in module.parameters())
    return 2 * weights + sum(each.nbytes for each in [*module.buffers(), *states])


def _beside(step: Callable[[], None], module: TrainingModule) -> float:
    """Bytes that a step on a CPU holds at most beside what it keeps."""
    with HeldBytes() as held:
        step()
    return max(0.0, held.most - sum(each.nbytes for each in module.parameters()))  # the gradients


def _reserve(device: torch.device) -> Callable[[], float]:
    """Bytes that PyTorch has reserved on a GPU at most, from now on until it is called."""
    if device.type != "cuda":
        return lambda: 0.0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_reserved(device)
    return lambda: torch.cuda.max_memory_reserved(device) - before


def _timed(call: Callable[[], None], device: torch.device, unwarmed: bool = True) -> float:
    """Seconds of a call, of which the first one is not counted where nothing like it has been called before."""
    if unwarmed or device.type == "cuda":
        call()
    times = []
    for _ in range(_STEPS[device.type]):
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
