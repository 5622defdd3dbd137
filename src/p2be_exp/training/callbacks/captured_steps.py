"""Has a training take its batches whole, as a CUDA graph, where its configuration and its device allow it."""

from __future__ import annotations

from typing import Any, cast

import pytorch_lightning as pl

from p2be_exp.config.schema import TrainConfig
from p2be_exp.system.output import for_terminal
from p2be_exp.training.capture_choice import reason_against
from p2be_exp.training.captured_step import CapturedStep
from p2be_exp.training.module import TrainingModule


class CapturedSteps(pl.Callback):
    """Decides at the start of a training, when its device and its optimizers are known.

    A line says what a capture took, or with ``trainer.compile=on`` why there is none.

    Args:
        config: of the training.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        module = cast("TrainingModule", pl_module)
        module.whole_steps = None
        done = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        steps = (trainer.max_epochs or 0) * int(trainer.num_training_batches) - done
        device = trainer.strategy.root_device
        reason = reason_against(self.config, module, device, trainer.world_size, steps)
        if reason is None:
            optimizer: Any = trainer.optimizers[0]
            context = trainer.precision_plugin.train_step_context
            module.whole_steps = CapturedStep(module, optimizer, context, self.config.batch_size, _say)
        elif self.config.trainer.compile == "on" and trainer.is_global_zero:
            _say(f"compile: steps are not captured as a CUDA graph: {reason} (trainer.compile=on)")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        cast("TrainingModule", pl_module).whole_steps = None  # gives the graph's memory to the evaluation

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        cast("TrainingModule", pl_module).whole_steps = None


def _say(line: str) -> None:
    print(for_terminal(line), flush=True)
