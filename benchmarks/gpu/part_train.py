"""The encodings of Table VI's row trained side by side on the one GPU, then evaluated, as far as the time goes."""

from __future__ import annotations

import subprocess
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.gpu.dependencies import ROOT
from benchmarks.gpu.one_encoding import OneEncoding
from benchmarks.gpu.part import Task
from benchmarks.gpu.rehearsal import Speed, rehearse
from benchmarks.gpu.sizes import SIZES
from benchmarks.gpu.training_commands import Commands, environment
from benchmarks.gpu.training_plan import RECIPE_EPOCHS, RECIPE_TABLE_LR, TrainingPlan, plan_training, read_plan
from p2be_exp.system.threads import usable_cpus

LOOK = 0.3  # seconds between two looks at the processes
ENDING = 6.0  # seconds for the last rows and archives


def run(task: Task) -> None:
    """Train, or go on with what is in the work folder; evaluate; pack."""
    work = Path(task.settings.work)
    work.mkdir(parents=True, exist_ok=True)
    plan = read_plan(work)
    if plan is None:
        speed, settings = _rehearsed(task), task.settings
        plan = plan_training(task.left(), speed, task.size, settings.size, settings.encodings, settings.epochs)
        plan.write(work)
    _tell(task, plan)
    trainer = "gpu" if torch.cuda.is_available() else "cpu"
    commands = Commands(task.settings, plan, trainer)
    maker = _Maker(task, commands)
    encodings = [OneEncoding(each, task, commands, maker.made) for each in plan.encodings]
    told = False
    try:
        _watch(task, plan, maker, encodings)
    except KeyboardInterrupt:  # by a signal, which the whole group has got
        told = True
        raise
    finally:
        maker.end()
        for each in encodings:
            each.end(told)


def _watch(
    task: Task,
    plan: TrainingPlan,
    maker: _Maker,
    encodings: list[OneEncoding],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Look at all processes until they are done, or the time is over."""
    evaluating = plan.evaluation_seconds + 2 * plan.start_seconds  # corruptions, attack
    train_until, until = task.until - evaluating - ENDING, task.until - ENDING
    while going := [each for each in encodings if each.stage != "done"]:
        now = clock()
        maker.look()
        for each in going:
            try:
                _look(each, now > train_until, now > until)
            except Exception as error:  # of one; the others go on
                traceback.print_exc()
                task.note(each.encoding, f"{type(error).__name__}: {error}")
                each.give_up()
        sleep(LOOK)


def _look(each: OneEncoding, enough_trained: bool, over: bool) -> None:
    if over:
        each.abandon()
    elif enough_trained and each.stage == "train":
        each.stop()
    each.poll()


def _rehearsed(task: Task) -> Speed | None:
    size, name = task.size, task.settings.size
    seconds = 5.0 if name == "full" else 0.5
    try:
        return rehearse(
            task.settings.encodings, name, seconds, environment(len(task.settings.encodings)), task.left() / 3
        )
    except Exception as error:
        task.note("how fast trainings are side by side", f"{error}; {size.dataset}: one epoch, fewest images")
        return None


def _tell(task: Task, plan: TrainingPlan) -> None:
    size = SIZES[plan.size]
    rows = {
        "trained": f"dataset={size.dataset} backbone={size.backbone} regime=augmix, {', '.join(plan.encodings)}",
        "images a second in the rehearsal, each": f"{plan.images_per_second:,.4g}",
        "epochs": f"{plan.epochs} (the recipe's are {RECIPE_EPOCHS}; cosine over these {plan.epochs})",
        "optim.table_lr": f"{plan.table_lr:g} (the recipe's times {plan.table_lr / RECIPE_TABLE_LR:.4g})",
        "test images a corruption": f"{plan.test_images:,}",
        "work folder": task.settings.work,
    }
    for what, value in rows.items():
        task.emit("Plan of the trainings", id=what, what=what, value=value)


class _Maker:
    """Makes the corrupted images beside the trainings."""

    def __init__(self, task: Task, commands: Commands) -> None:
        self._task = task
        workers = max(1, usable_cpus() - len(task.settings.encodings))
        self._log = Path(task.settings.work) / "corruptions.log"
        with self._log.open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                commands.corruptions(workers), cwd=ROOT, env=environment(), stdout=log, stderr=log,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self._made: bool | None = None

    def look(self) -> None:
        """See whether it has ended; a failure is noted, and the images are made on the fly."""
        if self._made is None and (code := self._process.poll()) is not None:
            self._made = code == 0
            if code:
                self._task.note("corrupted images", f"exit code {code}, see {self._log}; they are made on the fly")

    def made(self) -> bool | None:
        """Whether there are corrupted images to read; None as long as nobody knows."""
        return self._made

    def end(self) -> None:
        """Stop it where it still runs; the same command goes on."""
        if self._process.poll() is None:
            self._process.terminate()
