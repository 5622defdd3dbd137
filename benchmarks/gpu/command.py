"""The command: checks first, then a process a part, every row written as it comes."""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.dependencies import ROOT
from benchmarks.gpu.out import Out, parse_row
from benchmarks.gpu.processes import GRACE, run_limited
from benchmarks.gpu.settings import HELP, Settings, parse_settings
from benchmarks.gpu.sizes import SIZES
from benchmarks.gpu.time_shares import limit_of
from benchmarks.gpu.training_commands import environment
from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.errors import BadInput, Interrupted

PartCommand = Callable[[str, Settings, float], list[str]]


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    return exit_code_of(partial(_command, arguments))


def _command(arguments: Sequence[str]) -> None:
    if not arguments or {"-h", "--help"} & set(arguments):
        print(HELP)
        return
    start = time.monotonic()
    settings = parse_settings(arguments)
    check(settings)
    out = Out(Path(settings.out))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    session = Session(settings, out, start)
    for what, value in machine(settings).items():
        session.row("machine", {"table": "Machine", "id": what, "what": what, "value": value})
    session.run_parts()
    print(f"\n{(out.folder / 'table.md').read_text(encoding='utf-8')}\nrows and table in {out.folder}", flush=True)


def check(settings: Settings) -> None:
    """Check what the parts will need, before any time is spent.

    Raises:
        BadInput: no GPU for the full size, no data, or a work folder of other trainings.
    """
    import torch

    from benchmarks.gpu.training_plan import check_plan, read_plan
    from p2be_exp.data import data_source

    if settings.size == "full" and not torch.cuda.is_available():
        raise BadInput("size=full: needs a GPU, and PyTorch sees none; size=test runs on any machine")
    if "train" in settings.parts:
        check_plan(read_plan(Path(settings.work)), settings)
        data_source(SIZES[settings.size].dataset, settings.data_dir).fetch(download=False)


class Session:
    """Runs the parts one after another, and writes what they print.

    Args:
        settings: of the command.
        out: where rows go.
        start: what the clock said at the start of the command, from which the minutes count.
        command: gives the command line of a part by its name, the settings and its seconds.
        grace: seconds that a part has to end after it was told to.
        clock: tells the time.
    """

    def __init__(
        self,
        settings: Settings,
        out: Out,
        start: float,
        command: PartCommand | None = None,
        grace: float = GRACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.out, self._start = settings, out, start
        self._command, self._grace, self._clock = command or part_command, grace, clock

    def run_parts(self) -> None:
        """Each part within its limit; one that fails or hangs is noted, and the next one begins."""
        end = self._start + 60 * self.settings.minutes
        for number, part in enumerate(self.settings.parts):
            limit = limit_of(part, self.settings.parts[number:], end - self._clock())
            self._part_row(part, "running", limit)
            # It is told to end by itself before it is ended.
            soft = max(0.0, limit - self._grace)
            command = self._command(part, self.settings, soft)
            on_line, limits = partial(self.line, part), {"grace": self._grace, "clock": self._clock}
            ended = run_limited(command, limit, on_line, cwd=ROOT, env=environment(), **limits)
            state = "done"
            if ended.out_of_time:
                state = "ended at its limit"
            elif ended.code:
                state = f"failed (exit code {ended.code}; see log.txt)"
            self._part_row(part, state, limit, ended.seconds)

    def line(self, part: str, line: str) -> None:
        """What a part printed: a row, or something for the log."""
        row = parse_row(line)
        if row is None:
            if line.strip():
                with contextlib.suppress(OSError):
                    self.out.log(f"[{part}] {line}")
            return
        file = row.pop("file", None)
        if file is not None and (refused := self._taken(Path(file))) is not None:
            row = {"table": "Notes", "what": "archive", "note": refused}
        self.row(part, row)

    def _taken(self, file: Path) -> str | None:
        try:
            return self.out.take(file)
        except OSError as error:
            return f"{file.name}: not copied ({error.strerror})"

    def row(self, part: str, row: dict[str, Any]) -> None:
        """Write a row, and print it."""
        at = round(self._clock() - self._start, 1)
        try:
            self.out.add({**row, "process": part, "at": at})
        except OSError as error:  # a full disk: what comes is printed at least
            print(f"warning: the row below is not in {self.out.folder} ({error.strerror})", flush=True)
        cells = ", ".join(
            f"{key}={value}" for key, value in row.items() if key not in ("table", "id") and value not in (None, "")
        )
        print(f"[{at:6.1f} s] {row['table']}: {cells}", flush=True)

    def _part_row(self, part: str, state: str, limit: float, seconds: float | None = None) -> None:
        took = None if seconds is None else round(seconds, 1)
        self.row("parts", {"table": "Parts", "id": part, "name": part, "state": state, "seconds": took,
                           "limit": round(limit, 1)})  # fmt: skip


def part_command(part: str, settings: Settings, seconds: float) -> list[str]:
    """The command line of a part that should be at its end after so many seconds."""
    told = json.dumps(settings.as_dict())
    return [sys.executable, "-m", "benchmarks.gpu.part", part, told, f"{seconds:.1f}"]


def machine(settings: Settings) -> dict[str, str]:
    """What it runs on, and of which version."""
    import torch

    from benchmarks.hardware import processor
    from p2be_exp.runs.provenance import now, provenance
    from p2be_exp.system.threads import usable_cpus

    known = provenance()
    gpu = "none: the CPU is used"
    if torch.cuda.is_available():
        gpu = _nvidia_smi() or torch.cuda.get_device_name()
    versions = known["versions"]
    return {
        "GPU": gpu,
        "processor": f"{processor()}, {usable_cpus()} cores",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchvision {versions['torchvision']}, pytorch-lightning {versions['pytorch-lightning']}",
        "commit": known["git_commit"] or "unknown",
        "time": now(),
        "size": settings.size if settings.size == "full" else "test: says that the program runs, and nothing else",
        "minutes": f"{settings.minutes:g}",
    }


def _nvidia_smi() -> str | None:
    """Name, memory and driver, as the driver tells them."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{told[0]} (driver)" if told else None


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted(number)
