"""One encoding from its training to its archive: a process after another, looked at now and then, never waited for."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.archive import write_archive
from benchmarks.gpu.dependencies import ROOT
from benchmarks.gpu.out import MOST_ARCHIVE
from benchmarks.gpu.part import Task
from benchmarks.gpu.processes import GRACE
from benchmarks.gpu.training_commands import Commands, environment
from benchmarks.gpu.training_rows import (
    attack_cell,
    corruption_cells,
    epochs_told,
    published_cells,
    saved_steps,
    training_row,
)
from p2be_exp.runs.run import Run

STAGES = ("train", "cells", "attack", "done")
MEASURED = {"cells": "corruptions", "attack": "LS-PGA"}
LOOK_SECONDS = 5.0
"""Between two rows of a training that goes on."""


class OneEncoding:
    """Trains an encoding, or goes on with it, evaluates what there is, packs it.

    Args:
        encoding: its name.
        task: writes rows and notes.
        commands: the command lines.
        stored: whether the corrupted images have been made; None as long as nobody knows.

    Attributes:
        stage: what is being done, or is next.
    """

    def __init__(self, encoding: str, task: Task, commands: Commands, stored: Callable[[], bool | None]) -> None:
        self.encoding, self.stage = encoding, "train"
        self.run = Run(Path(task.settings.work) / encoding)
        self._task, self._commands, self._stored = task, commands, stored
        self._process: subprocess.Popen | None = None
        self._stopped = self._last = False
        self._looked = 0.0
        self._told: dict[str, dict[str, Any]] = {}
        self._saved: tuple[int, int] | None = None

    # -- looked at now and then ------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Start what is next, or see how far it is, or end it."""
        if self.stage == "done":
            return
        if self._process is None:
            self._begin()
            return
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self.tell()
        if (code := self._process.poll()) is not None:
            self._ended(code)

    def stop(self) -> None:
        """Ask what is running to save and end, or leave it out; what comes after is done all the same."""
        if self._process is None:
            self._next()
        elif not self._stopped:  # a second signal would end it at once
            self._process.send_signal(signal.SIGTERM)
            self._stopped = True

    def abandon(self) -> None:
        """Ask what is running to save and end; nothing comes after it but the last row and the archive."""
        self._last = True
        if self._process is not None:
            self.stop()
        elif self.stage != "done":
            self._finish()

    def end(self, told: bool) -> None:
        """Wait for what is running, as the whole part is ended.

        Args:
            told: whether it has got the signal already, as a member of the same process group.
        """
        self._last, self._stopped = True, self._stopped or told
        if self._process is None:
            return
        self.stop()
        try:
            code = self._process.wait(timeout=GRACE / 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            code = -signal.SIGTERM  # it had its time to save; what it saved is what counts
        self._ended(code)

    def give_up(self) -> None:
        """End what is running, at once; nothing comes after it."""
        self.stage = "done"
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    # -- stages ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self.stage == "train":
            if self.run.status().get("state") == "finished":
                self._next()
                return
            there = self.run.run_file.is_file()
            command = self._commands.resume if there else lambda run: self._commands.train(self.encoding, run)
            self._start(command(self.run.path))
            return
        if not self.run.checkpoint("last").is_file():
            self._finish()
        elif self.stage == "cells":
            if (stored := self._stored()) is not None:
                self._start(self._commands.cells(self.run.path, self._name("cells"), stored))
        else:
            self._start(self._commands.attack(self.run.path, self._name("lspga")))

    def _start(self, command: Sequence[str]) -> None:
        self.run.path.mkdir(parents=True, exist_ok=True)
        self._stopped = False
        with self._log().open("a", encoding="utf-8") as log:
            processes = len(self._task.settings.encodings)
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment(processes), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _ended(self, code: int) -> None:
        stage, self._process = self.stage, None
        if stage == "train":
            self._saved = None  # the checkpoint is another
        if code and code not in (128 + signal.SIGTERM, -signal.SIGTERM):
            self._task.note(f"{self.encoding}, {stage}", f"exit code {code}: {_last_line(self._log())}")
        if self._last:
            self._finish()
        else:
            self._next()

    def _next(self) -> None:
        self.stage = STAGES[STAGES.index(self.stage) + 1]
        if self.stage == "done":
            self._finish()
        else:
            self.tell()
            self._pack()  # a machine may be cut off in the stage that comes

    def _finish(self) -> None:
        if self._last and (cut := [MEASURED[each] for each in STAGES[STAGES.index(self.stage) :] if each in MEASURED]):
            self._task.note(self.encoding, f"no time was left for {' and '.join(cut)}, or for all of it")
        self.stage = "done"
        self.tell()
        self._pack()

    # -- what is known ---------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Write the rows of this encoding where they have changed."""
        self._looked = time.monotonic()
        rows = {"Training": training_row(self.run, self._commands.plan.epochs), "Encodings": self._result_row()}
        for table, row in rows.items():
            if row and self._told.get(table) != row:
                self._told[table] = row
                self._task.emit(table, id=self.encoding, encoding=self.encoding, **row)

    def _result_row(self) -> dict[str, Any]:
        if self.stage == "train" or not self.run.checkpoint("last").is_file():
            return {}
        plan, folder = self._commands.plan, self.run.path / "evaluations"
        self._steps()
        return {
            "epochs": epochs_told(*self._saved, plan.epochs),
            "state": "done" if self.stage == "done" else "evaluating",
            **corruption_cells(folder / self._name("cells")),
            **attack_cell(folder / self._name("lspga")),
            **(published_cells(self.encoding) if plan.size == "full" else {}),
        }

    def _name(self, what: str) -> str:
        """Of an evaluation; another checkpoint, of a training that went on, is another evaluation."""
        return f"{what}_{self._steps()}"

    def _steps(self) -> int:
        """Steps of the checkpoint; read once after a training."""
        if self._saved is None:
            self._saved = saved_steps(self.run)
        return self._saved[0]

    def _pack(self) -> None:
        if not self.run.run_file.is_file():
            return
        file = self.run.path.parent / f"{self.encoding}.zip"
        try:
            left_out = write_archive(self.run, file, MOST_ARCHIVE)
        except Exception as error:
            self._task.note(f"{self.encoding}, archive", f"{type(error).__name__}: {error}")
            return
        if left_out:
            self._task.note(f"{self.encoding}, archive", f"no room for {', '.join(left_out)}")
        self._task.archive(file)

    def _log(self) -> Path:
        return self.run.path / "process.log"


def _last_line(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n") if file.is_file() else []
    return next((line for line in reversed(lines) if line.strip()), "")
