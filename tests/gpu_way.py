"""Training steps by the operators of a GPU, without one; what makes the host wait for the device is noted.

On fake tensors of a GPU, which have no values, what has to read one back fails, and copies from the host can be seen;
PyTorch computes no gradient there without a driver, so that an attack gets zeros, and no optimizer steps. On the CPU,
told to take a GPU's way, a step is whole.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.launches import _waits, launches_of
from p2be_exp.attacks import gradient, lspga, window
from p2be_exp.attacks import random as attack_random
from p2be_exp.augment import augmix as augmix_views
from p2be_exp.augment import random_flip_crop
from p2be_exp.backbones import dropout
from p2be_exp.config import training_config
from p2be_exp.data import Batch
from p2be_exp.optim import CombinedOptimizer, build, build_optimizer
from p2be_exp.randomness import draws
from p2be_exp.randomness.draws import ImageRandom
from p2be_exp.regimes import augmix, feature_mixing, noisymix
from p2be_exp.training.module import TrainingModule

BATCH = 4


class Waits(TorchDispatchMode):
    """A context that notes what waits for the device: values read back, and copies between it and the host.

    From memory that is not pinned, as a new constant's, the host waits for the copy; a captured step cannot have one.

    Attributes:
        found: the operators, with the place in the package.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the operator and note it."""
        result = func(*args, **(kwargs or {}))
        devices = {each.device.type for each in (*args, result) if isinstance(each, Tensor)}
        if len(devices) > 1 or _waits(func, args):
            ours = [each for each in traceback.extract_stack() if "p2be_exp" in each.filename]
            # Image numbers are checked on the host alone, whose tensors these are here.
            if not (ours and ours[-1].name == "__init__" and ours[-1].filename == draws.__file__):
                self.found.append(f"{func}: {[(each.filename, each.lineno, each.line) for each in ours[-1:]]}")
        return result


class Recording(TorchDispatchMode):
    """A context that records operators, to be carried out again on the same tensors: a CUDA graph's twin on the CPU.

    As in a graph, what Python decided or held as a number stays as it was; what is in tensors is read anew.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, Sequence[Any], Mapping[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the operator and keep the call."""
        result = func(*args, **(kwargs or {}))
        self._calls.append((func, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Carry out every call again; its result goes to where it was."""
        for func, args, kwargs, result in self._calls:
            if launches_of(func, args, result):  # no view, nothing without a value
                _put(func(*args, **kwargs), result)


def _put(values: Any, places: Any) -> None:
    if isinstance(places, Tensor):
        if values is not places:
            places.copy_(values)
    elif isinstance(places, list | tuple):
        for value, place in zip(values, places, strict=True):
            _put(value, place)


class GpuWay:
    """A module, its optimizers and a batch.

    Args:
        fake: whether on a fake GPU; else on the CPU, which takes a GPU's way.
        overrides: of the configuration; the network is a small one.
    """

    def __init__(self, fake: bool, *overrides: str) -> None:
        small = ["dataset=cifar100", "backbone=wrn16_1", f"batch_size={BATCH}", "trainer=cpu"]
        config = training_config([*small, *([] if "encoding=rgb" in overrides else ["encoding.M=8"]), *overrides])
        self.fake = FakeTensorMode(allow_non_fake_inputs=True) if fake else None
        with contextlib.ExitStack() as patches:
            if self.fake:
                patches.enter_context(self.fake)
                patches.enter_context(torch.device("cuda"))
                # A parameter that others know of cannot be exchanged for its copy in another memory format.
                patches.enter_context(mock.patch.object(torch.nn.Module, "to", lambda self, *a, **k: self))
            self.module = TrainingModule(config, 100, 10)
            images = torch.arange(BATCH * 3 * 32 * 32).remainder(251).to(torch.uint8).view(BATCH, 3, 32, 32)
            self.batch = Batch(images, torch.arange(BATCH), torch.arange(BATCH), BATCH, BATCH, 1.0)
        with self.taken():
            self.optimizer: CombinedOptimizer = build_optimizer(*self.module.model.learned(), config.optim)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """The block computes by the operators that a GPU has."""
        with contextlib.ExitStack() as patches:
            for owner, name, replacement in _of_fakes() if self.fake else _of_the_cpu():
                patches.enter_context(mock.patch.object(owner, name, replacement))
            if self.fake:
                patches.enter_context(self.fake)
            yield

    def losses(self) -> Iterator[Tensor]:
        """Views, loss and metering, for each step on the batch."""
        self.module.on_train_batch_start(self.batch, 0)
        more = True
        while more:
            yield self.module.training_step(self.batch, 0)
            more = self.module._losses is not None

    def step(self) -> None:
        """The same with gradients and optimizers."""
        for loss in self.losses():
            self.optimizer.zero_grad()
            loss.backward()
            self.module.on_after_backward()
            if (norm := self.module.config.optim.clip_norm) is not None:
                build.clip_gradients(self.optimizer, norm)
            self.optimizer.step()


def _of_fakes() -> Iterator[tuple[Any, str, Any]]:
    # Made once, from constants on the host.
    yield window, "_on_host", _real(window._on_host)
    yield augmix, "augmix_for", _real(augmix.augmix_for)
    yield noisymix, "draw_batch", _real(noisymix.draw_batch)  # numbers of the host's own
    for module in (lspga, gradient):
        yield module, "gradient_of", lambda loss, inputs: [torch.zeros_like(each) for each in inputs]


def _of_the_cpu() -> Iterator[tuple[Any, str, Any]]:
    yield build, "_fused", lambda parameters: True
    for module in (augmix_views, sys.modules[random_flip_crop.__module__], draws):
        yield module, "kernels_serve", lambda device: True
    for module in (attack_random, dropout, feature_mixing):
        yield module, "uniform_of_images", _uniform_of_a_gpu


def _uniform_of_a_gpu(images: Tensor, seed: int, stream: Any, purpose: int, n: int, start: int = 0) -> Tensor:
    return ImageRandom(seed, stream, images, purpose).uniform(n, start)


def _real(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with unset_fake_temporarily():
            return function(*args, **kwargs)

    return call
