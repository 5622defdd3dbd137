"""What runs inside the commands of :mod:`processes`: the command, with faults at the places of its ranks."""

import importlib
import json
import os
import signal
import time
from pathlib import Path

import torch

from p2be_exp.data import ImageDataModule
from p2be_exp.errors import BadInput, ResourceError
from p2be_exp.evaluation.module import EvaluationModule
from p2be_exp.training.module import TrainingModule

LONG = 300.0
"""Seconds after which a wait gives up, should the test be gone."""


def run(command: str, marks: str) -> int:
    """Run a command with the faults of a folder of marks; its exit code."""
    folder = Path(marks)
    faults = json.loads((folder / "faults.json").read_text())
    known = {**_words(folder), "os": os, "signal": signal, "torch": torch}
    known |= {"BadInput": BadInput, "ResourceError": ResourceError}
    exec(faults.pop("first"), dict(known))

    def at(rank: int, place: str) -> None:
        fault = f"{rank} {place}"
        if fault in faults:
            _write(folder / f"pid {rank}", str(os.getpid()))
            known["tell"](fault)
            exec(faults[fault], dict(known))

    _put_in_place(at)
    return importlib.import_module(f"p2be_exp.commands.{command}").main()


def _words(folder: Path) -> dict:
    def tell(name: str) -> None:
        (folder / name).touch()

    def wait(name: str) -> None:
        end = time.monotonic() + LONG
        while not (folder / name).exists():
            if time.monotonic() > end:
                raise TimeoutError(name)
            time.sleep(0.01)

    def blocked() -> None:
        torch.distributed.all_reduce(torch.zeros(1))

    def busy() -> None:
        end, matrix = time.monotonic() + LONG, torch.randn(200, 200)
        while time.monotonic() < end:
            matrix @ matrix

    return {"tell": tell, "wait": wait, "blocked": blocked, "busy": busy}


def _write(file: Path, text: str) -> None:
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_text(text)
    part.rename(file)


def _put_in_place(at) -> None:
    setup = ImageDataModule.setup
    step, test, finish = TrainingModule.training_step, EvaluationModule.test_step, EvaluationModule._finish

    def with_setup(self, *arguments, **more):
        at(int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))), "setup")
        return setup(self, *arguments, **more)

    def with_step(self, batch, batch_idx):
        at(self.global_rank, f"step {self.current_epoch} {batch_idx}")
        return step(self, batch, batch_idx)

    def with_test(self, batch, batch_idx, dataloader_idx=0):
        at(self.global_rank, f"test {_name(self.conditions[dataloader_idx])} {batch_idx}")
        return test(self, batch, batch_idx, dataloader_idx)

    def with_finish(self, condition):
        at(self.global_rank, f"gather {_name(condition)}")
        return finish(self, condition)

    ImageDataModule.setup = with_setup
    TrainingModule.training_step = with_step
    EvaluationModule.test_step, EvaluationModule._finish = with_test, with_finish


def _name(condition) -> str:
    return condition.id.replace("/", "-")
