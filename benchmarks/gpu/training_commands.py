"""The commands of the trainings, as a user would type them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.dependencies import ROOT, SOURCE
from benchmarks.gpu.settings import Settings
from benchmarks.gpu.sizes import SIZES
from benchmarks.gpu.training_plan import TrainingPlan, departures
from p2be_exp.system.threads import usable_cpus

CORRUPTED = "corrupted"
"""Folder of the corrupted test images, in the work folder."""


@dataclass(frozen=True)
class Commands:
    """Gives the command lines for one plan.

    Args:
        settings: of the whole command.
        plan: of the trainings.
        trainer: ``gpu`` or ``cpu``.
    """

    settings: Settings
    plan: TrainingPlan
    trainer: str

    def train(self, encoding: str, run: Path) -> list[str]:
        """Train from the start."""
        size, plan = SIZES[self.plan.size], self.plan
        return [
            *_python("train.py"),
            f"encoding={encoding}",
            f"dataset={size.dataset}",
            f"backbone={size.backbone}",
            "regime=augmix",
            f"epochs={plan.epochs}",
            f"batch_size={size.batch_size}",
            f"limit_train={_limit(self.plan.size, size.train_images)}",
            f"limit_test={_limit(self.plan.size, size.test_images)}",
            f"optim.table_lr={plan.table_lr}",
            f"departs_from_paper='{departures(plan)}'",
            "corruption=none",
            "attack=none",
            f"data_dir='{self.settings.data_dir}'",
            f"hydra.run.dir='{run}'",
            *self._trainer(),
        ]

    def resume(self, run: Path) -> list[str]:
        """Go on with a training."""
        return [*_python("train.py"), f"resume='{run}'", *self._trainer()]

    def corruptions(self, workers: int) -> list[str]:
        """Make the corrupted images of all evaluations, at a lower priority than the trainings beside it."""
        size = SIZES[self.plan.size]
        nice = ["nice", "-n", "10"] if shutil.which("nice") else []
        return [
            *nice,
            sys.executable,
            *("-m", "p2be_exp.corruptions", "make"),
            f"dataset={size.dataset}",
            f"data_dir='{self.settings.data_dir}'",
            f"out='{Path(self.settings.work) / CORRUPTED}'",
            f"names={size.names}",
            f"severities={size.severities}",
            f"limit_test={self._limit_test()}",
            f"workers={workers}",
            *self._frost("frost_dir"),
        ]

    def cells(self, run: Path, name: str, stored: bool) -> list[str]:
        """Evaluate under corruptions, made already or on the fly."""
        size = SIZES[self.plan.size]
        folder = [f"corruption.dir='{Path(self.settings.work) / CORRUPTED}'"] if stored else []
        chosen = ["corruption=generated", f"corruption.names={size.names}", f"corruption.severities={size.severities}"]
        frost = self._frost("corruption.frost_dir")
        return [*self._evaluate(run, name, self._limit_test()), *chosen, *folder, *frost, "attack=none"]

    def attack(self, run: Path, name: str) -> list[str]:
        """Evaluate under LS-PGA, on some images."""
        images = str(min(SIZES[self.plan.size].attack_images, self.plan.test_images))
        return [*self._evaluate(run, name, images), "corruption=none", "attack=lspga"]

    def _evaluate(self, run: Path, name: str, images: str) -> list[str]:
        return [*_python("evaluate.py"), f"run='{run}'", f"name={name}", f"limit_test={images}",
                f"data_dir='{self.settings.data_dir}'", *self._trainer()]  # fmt: skip

    def _limit_test(self) -> str:
        return _limit(self.plan.size, self.plan.test_images)

    def _frost(self, key: str) -> list[str]:
        return [] if self.settings.frost_dir is None else [f"{key}='{self.settings.frost_dir}'"]

    def _trainer(self) -> list[str]:
        return [f"trainer={self.trainer}", "trainer.progress=false"]


def environment(processes: int = 1) -> dict[str, str]:
    """The environment of a process beside others: the repository's own source, and its share of the cores."""
    drop = ("P2BE_PLUGINS", "HYDRA_FULL_ERROR", "RANK", "LOCAL_RANK", "WORLD_SIZE")
    kept: Mapping[str, str] = {key: value for key, value in os.environ.items() if key not in drop}
    paths = [str(SOURCE), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    share = str(max(1, usable_cpus() // processes))
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1",
            **({"OMP_NUM_THREADS": share} if "OMP_NUM_THREADS" not in kept else {})}  # fmt: skip


def _python(script: str) -> list[str]:
    return [sys.executable, str(ROOT / script)]


def _limit(size: str, images: int) -> str:
    """A number of images; null for all of a data set."""
    full = SIZES[size]
    return "null" if size == "full" and images in (full.train_images, full.test_images) else str(images)
