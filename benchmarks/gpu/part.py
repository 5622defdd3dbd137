"""One part, in the process that is started for it: ``python -m benchmarks.gpu.part NAME SETTINGS SECONDS``.

It prints rows as JSON lines; whatever else it prints goes to the log.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.settings import Settings
from benchmarks.gpu.sizes import SIZES, Size

MODULES = {
    "tests": "benchmarks.gpu.part_tests",
    "step": "benchmarks.gpu.part_step",
    "train": "benchmarks.gpu.part_train",
}
"""Each has a function ``run(task)``."""


@dataclass(frozen=True)
class Task:
    """What a part is told.

    Attributes:
        settings: of the command.
        until: ``time.monotonic()`` at which the part should be at its end; a little later it is ended.
        emit: writes a row.
    """

    settings: Settings
    until: float
    emit: Callable[..., None]

    @property
    def size(self) -> Size:
        """The numbers of everything."""
        return SIZES[self.settings.size]

    def left(self) -> float:
        """Seconds until the end."""
        return self.until - time.monotonic()

    def note(self, what: str, why: str) -> None:
        """A row that says what failed or was left out."""
        self.emit("Notes", what=what, note=why[:600])

    def archive(self, file: Path) -> None:
        """Hand a finished archive over, to be copied into the folder that is taken away."""
        self.emit("Archives", id=file.name, archive=file.name, bytes=file.stat().st_size, file=str(file))


class Rows:
    """Prints rows for the process above, whatever a library does with ``sys.stdout`` meanwhile (pytest captures it)."""

    def __init__(self) -> None:
        self._stream = os.dup(1)

    def emit(self, table: str, **cells: Any) -> None:
        """Print a row on a line of its own, also where somebody has printed half a line."""
        sys.stdout.flush()
        os.write(self._stream, f"\n{json.dumps({'table': table, **cells})}\n".encode())


def attempt(task: Task, what: str, work: Callable[[], None]) -> None:
    """Do a piece of a part; a failure is noted, and what comes after goes on."""
    if task.left() <= 0:
        task.note(what, "not measured: no time was left")
        return
    try:
        work()
    except Exception as error:
        import traceback

        traceback.print_exc()
        task.note(what, f"{type(error).__name__}: {error}")


def main(arguments: list[str]) -> int:
    """Run a part until it is done, or SIGTERM comes; the exit code."""
    name, settings, seconds = arguments
    signal.signal(signal.SIGTERM, _interrupt)
    given = json.loads(settings)
    lists = {key: tuple(given[key]) for key in ("parts", "encodings")}
    task = Task(Settings(**{**given, **lists}), time.monotonic() + float(seconds), Rows().emit)
    try:
        importlib.import_module(MODULES[name]).run(task)
    except KeyboardInterrupt:
        return 128 + signal.SIGTERM
    return 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt  # which pytest and Python's own libraries know as the wish to end


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
