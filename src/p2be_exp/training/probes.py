"""Whether another setting would train a network faster on this CPU: short passes of a copy, timed in turn."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGES = 16
"""Images of a pass, at most."""
ROUNDS = 3
LONG = 5.0
"""Seconds after which no further round begins."""
WORTH_SAYING = 1.25
"""Smallest speed-up that is reported: smaller ones are within the noise of the timings."""


def single_thread_factor(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The speed-up of one thread over the number in use; 0 if it cannot be measured.

    Args:
        model: images in, logits out; it is not changed.
        images: uint8 ``(B, 3, H, W)``; at most :data:`IMAGES` of them are used.
        labels: int64 ``(B,)``.
    """
    threads = torch.get_num_threads()
    run = _pass_of(model, images, labels)
    if run is None:
        return 0.0

    def with_threads(number: int) -> float:
        torch.set_num_threads(number)
        return _seconds(run)

    try:
        return _median_ratio(lambda: with_threads(threads), lambda: with_threads(1))
    finally:
        torch.set_num_threads(threads)


def bf16_factor(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The speed-up of bf16 over float32; see :func:`single_thread_factor`."""
    run = _pass_of(model, images, labels)
    if run is None:
        return 0.0

    def lowered() -> float:
        with torch.autocast("cpu", torch.bfloat16):
            return _seconds(run)

    _seconds(run)
    lowered()  # warm-up
    return _median_ratio(lambda: _seconds(run), lowered)


def _pass_of(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], None] | None:
    """A forward and backward pass of a copy, which draws nothing from PyTorch's random state.

    None if the network cannot be copied (a plug-in's, for instance): advice must never end a training.
    """
    try:
        twin, images, labels = copy.deepcopy(model), images[:IMAGES], labels[:IMAGES]
    except Exception:
        return None

    def run() -> None:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]):
            F.cross_entropy(twin(images), labels).backward()

    return run


def _median_ratio(one: Callable[[], float], other: Callable[[], float]) -> float:
    ratios: list[float] = []
    start = time.perf_counter()
    while len(ratios) < ROUNDS and (not ratios or time.perf_counter() - start < LONG):
        ratios.append(one() / other())
    return statistics.median(ratios)


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
