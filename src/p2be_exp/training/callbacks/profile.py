"""Where the time of a training step goes: ``trainer.profile``."""

from __future__ import annotations

import os
import warnings
from typing import Any

import pytorch_lightning as pl
import torch
from torch.profiler import ProfilerActivity

from p2be_exp.runs.run import Run
from p2be_exp.system.atomic import replacing, write_text
from p2be_exp.system.output import for_terminal

BEFORE, WARM_UP, RECORDED = 5, 2, 5
"""Steps that are passed over, since the first ones choose algorithms and build kernels; that the profiler warms up in,
since its own start would be measured; and that are recorded. A training of few steps has fewer of them."""
ROWS = 60
"""Of the table."""


_LEVEL = "KINETO_LOG_LEVEL"
"""Read by the profiler's library, which otherwise prints lines of its own: among them, on a machine without a GPU, an
error that it found none. Somebody's own level stays."""


class Profile(pl.Callback):
    """Records some steps of the first process by PyTorch's profiler: ``profile/table.txt`` and ``profile/trace.json``.

    The steps take longer while they are recorded, and give the same bits.

    Args:
        run: the folder.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._profiler: torch.profiler.profile | None = None
        self._steps = 0
        self._silenced = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        done = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        left = (trainer.max_epochs or 0) * int(trainer.num_training_batches) - done
        if not trainer.is_global_zero or left < 1:
            return
        recorded = min(RECORDED, max(1, left - 1))
        warm_up = min(WARM_UP, left - recorded)
        before = min(BEFORE, left - recorded - warm_up)
        activities = [ProfilerActivity.CPU]
        if trainer.strategy.root_device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        self._steps = recorded
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a training of a single step: no warm-up
            schedule = torch.profiler.schedule(wait=before, warmup=warm_up, active=recorded, repeat=1)
        self._profiler = torch.profiler.profile(
            activities=activities,
            schedule=schedule,
            on_trace_ready=self._write,
            acc_events=True,  # of one cycle; without it a warning says that others are forgotten
        )
        self._silenced = _LEVEL not in os.environ
        os.environ.setdefault(_LEVEL, "99")
        self._profiler.start()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self._profiler is not None:
            self._profiler.step()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        profiler, self._profiler = self._profiler, None
        if profiler is not None:
            profiler.stop()
            if self._silenced:
                os.environ.pop(_LEVEL, None)

    def _write(self, profiler: torch.profiler.profile) -> None:
        """The table of the operators, the longest first, and the trace."""
        folder = self.run.path / "profile"
        folder.mkdir(exist_ok=True)
        on_gpu = ProfilerActivity.CUDA in profiler.activities
        by = "self_device_time_total" if on_gpu else "self_cpu_time_total"
        table = profiler.key_averages().table(sort_by=by, row_limit=ROWS, max_name_column_width=60)
        write_text(folder / "table.txt", f"{self._steps} steps\n{table}")
        with replacing(folder / "trace.json") as part:
            profiler.export_chrome_trace(str(part))
        print(for_terminal(f"profile: {self._steps} steps in {folder}, table.txt and trace.json"), flush=True)
