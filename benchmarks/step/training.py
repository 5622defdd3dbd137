"""Our training, as it is: Lightning's loop with every callback of a run, whose steps are measured from inside."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytorch_lightning as pl
import torch

from benchmarks.loop_overhead import RandomData
from benchmarks.step.parts import ATTACK, BACKWARD, LOSS, OPTIMIZERS, STEM, TRUNK, VIEWS, WAITING, Parts
from p2be_exp.augment import AugMix
from p2be_exp.backbones import check_image_size
from p2be_exp.config import check_config, training_config
from p2be_exp.config.schema import TrainConfig
from p2be_exp.data import Batch, ResidentLoader
from p2be_exp.runs.run import Run
from p2be_exp.system.stop_signals import StopSignals
from p2be_exp.system.trainer import check_devices
from p2be_exp.training.job import prepare
from p2be_exp.training.module import TrainingModule

IMAGE_SIZE = 32

Script = Callable[[], Iterator[None]]
"""Gives a generator: the training makes a step at each ``yield``; what is between them is not the training's."""


class Setting(NamedTuple):
    """What is trained; the precision is ``bf16`` or ``32``, images are random and 32 x 32, of 100 classes."""

    encoding: str
    regime: str
    backbone: str
    precision: str
    batch_size: int
    device: torch.device

    def __str__(self) -> str:
        return f"{self.encoding}, {self.regime}, {self.backbone}, {self.precision}"

    def config(self, *more: str) -> TrainConfig:
        """The configuration of the training, by default without a captured step, whose parts nobody could tell apart.

        Args:
            more: overrides.

        Raises:
            BadInput: there is no such option, two do not go together, or this machine has no such device.
        """
        overrides = [f"{key}={getattr(self, key)}" for key in ("encoding", "regime", "backbone", "batch_size")]
        overrides += ["dataset=cifar100", "epochs=1", "optim.lr=0.001", f"trainer.precision={self.precision}"]
        overrides += [f"trainer={'gpu' if self.device.type == 'cuda' else 'cpu'}", "trainer.progress=true"]
        config = training_config([*overrides, "trainer.compile=off", *more])
        check_config("train", config)
        check_devices(config.trainer)
        check_image_size(config.backbone.name, IMAGE_SIZE)
        return config


def train(
    setting: Setting,
    parts: Parts,
    script: Script,
    most_steps: int,
    overrides: Sequence[str] = (),
    callbacks: Sequence[pl.Callback] = (),
    started: Callable[[pl.Trainer], object] = lambda trainer: None,
) -> None:
    """Train until the script ends. What the training prints goes to standard error.

    Args:
        setting: what is trained.
        parts: are told what is worked on.
        script: asks for steps, ``most_steps`` at most.
        most_steps: batches of the only epoch.
        overrides: of the setting's configuration.
        callbacks: beside those of every run, called before the script.
        started: called with the trainer before the first step.
    """
    config = setting.config(*overrides)
    data = _Data(most_steps * setting.batch_size, setting.batch_size, parts)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        run = Run(Path(folder))
        run.create(config)
        trainer, module = prepare(config, run, data, NoSignals(), [], callbacks)
        trainer.callbacks.append(_Steps(script, started))
        with contextlib.ExitStack() as told:
            trainer.callbacks.append(_Told(parts, told))
            try:
                trainer.fit(module, data)
            except _Finished:
                pass
            except SystemExit as error:  # Lightning's word for an interrupt
                raise KeyboardInterrupt from error


class _Finished(Exception):  # noqa: N818  # no error
    """The script has ended."""


class _Steps(pl.Callback):
    """Lets the script go on between two steps."""

    def __init__(self, script: Script, started: Callable[[pl.Trainer], object]) -> None:
        self._script, self._started = script(), started

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started(trainer)
        self._go_on()

    def on_train_batch_end(self, *_: Any) -> None:
        self._go_on()

    @torch.enable_grad()
    def _go_on(self) -> None:
        try:
            next(self._script)
        except StopIteration:
            raise _Finished from None


class _Told(pl.Callback):
    """Has the parts of a training told when they are worked on."""

    def __init__(self, parts: Parts, until: contextlib.ExitStack) -> None:
        self.parts, self._until = parts, until

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module, regime, parts = pl_module, pl_module.regime, self.parts
        assert isinstance(module, TrainingModule)
        places: list[tuple[Any, str, str]] = [
            (module, "training_step", LOSS),
            (module, "backward", BACKWARD),
            (module, "lr_scheduler_step", OPTIMIZERS),
            (module.model, "read", STEM),
            (module.model, "body", TRUNK),
            (AugMix, "__call__", VIEWS),
            *((regime, name, VIEWS) for name in ("clean_view", "views") if hasattr(regime, name)),
            *((regime.attack, name, ATTACK) for name in ("search",) if hasattr(regime, "attack")),
        ]
        for optimizer in trainer.optimizers:
            members = getattr(optimizer, "members", {"": optimizer}).values()
            places += [(each, name, OPTIMIZERS) for each in members for name in ("step", "zero_grad")]
        for owner, name, part in places:
            wrapper = parts.wrapped(part, getattr(owner, name), whole=part == ATTACK)
            self._until.enter_context(mock.patch.object(owner, name, wrapper))


class _Data(RandomData):
    """Random images whose loader says when it is waited for."""

    def __init__(self, images: int, batch_size: int, parts: Parts) -> None:
        super().__init__(images, batch_size)
        self.parts = parts

    def train_dataloader(self) -> _Loader:
        loader = super().train_dataloader()
        return _Loader(loader.data, loader.batch_size, shuffle_seed=0, device=loader.device).telling(self.parts)


class _Loader(ResidentLoader):
    parts: Parts

    def telling(self, parts: Parts) -> _Loader:
        self.parts = parts
        return self

    def __iter__(self) -> Iterator[Batch]:
        batches = super().__iter__()
        while True:
            with self.parts.of(WAITING):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch


class NoSignals(StopSignals):
    """A benchmark ends at once: there is nothing to save."""

    def listen(self) -> None:
        """Leave the handlers as they are."""
