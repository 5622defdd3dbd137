"""Commands of several processes: started, disturbed at chosen places, and never left behind.

A command is ``train.py`` or ``evaluate.py`` with faults: a few lines of Python that one rank runs at one place of its
work (see :data:`PLACES`). Ranks and the test meet at files in a folder of marks, never by sleeping: ``tell(NAME)``
makes one, ``wait(NAME)`` waits for it. Every process of a command is found by a mark in its environment, or in its name
where it is a warm one (see :mod:`warm_process`), whoever its parent is by then.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest

from commandline import Outcome
from warm_process import WarmProcess

BOUND = 90.0
"""Seconds in which each thing that a test waits for has to come, on a busy machine, too; else it is a failure."""

DDP = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.progress=false")

PLACES = ("setup", "step EPOCH BATCH", "test CONDITION BATCH", "gather CONDITION")
"""Where faults can be: before the data are read, before a training step, before a batch of an evaluation, before a
condition's images are gathered; the "/" of a condition is written "-"."""

Launcher = Literal["own", "by hand", "torchrun"]
"""``own``: rank 0 alone is started. ``by hand``: each rank is, with the variables that torchrun sets."""

_MARK = "COMMAND_OF_A_TEST"
_FAULTS = (Path(__file__).parent / "faults.py").as_posix()
_FOREIGN = ("P2BE", "HYDRA", "WANDB", "PL_", "MASTER_", "SLURM", "TORCHELASTIC", "RANK", "LOCAL_", "WORLD_", "GROUP_")


class Command:
    """A command that was started: its processes, what it prints, its marks.

    Attributes:
        folder: where it runs; ``marks`` in it is the folder of marks.
        first: the processes that were started here, by rank; the others are their children.
    """

    def __init__(self, folder: Path, mark: str, first: list[subprocess.Popen | WarmProcess]) -> None:
        self.folder, self.first, self._mark = folder, first, mark
        self.marks = folder / "marks"

    # -- waiting ---------------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], bool], what: str, dead: bool = False) -> None:
        """Wait until a condition holds; fail where it does not in time, or where all of the command has ended.

        Args:
            condition: looked at again and again.
            what: for the message.
            dead: the condition may come after the end of every process that was started here.
        """
        deadline = time.monotonic() + BOUND
        while not condition():
            over = not dead and all(process.poll() is not None for process in self.first)
            if (over and not condition()) or time.monotonic() > deadline:
                raise AssertionError(f"{'ended' if over else f'{BOUND:.0f} s'} without {what}\n{self.told()}")
            time.sleep(0.01)

    def until_told(self, *names: str) -> None:
        """Wait for marks that ranks make: ``RANK PLACE`` where there is a fault, and whatever a fault tells."""
        for name in names:
            self.until((self.marks / name).exists, f"the mark {name!r}")

    def until_said(self, text: str) -> None:
        """Wait until a text has been printed."""
        self.until(lambda: text in self.out + self.err, f"the words {text!r}")

    def let(self, name: str) -> None:
        """Make the mark that a rank waits for."""
        (self.marks / name).touch()

    def ended(self) -> Outcome:
        """Wait for the end of the first rank, and of all other processes of the command; what it printed."""
        self.until(lambda: all(process.poll() is not None for process in self.first), "an end", dead=True)
        self.until(lambda: not self.left(), "the end of the other processes", dead=True)
        return Outcome(self.first[0].returncode, self.out, self.err)

    # -- processes -------------------------------------------------------------------------------------------------

    def pid(self, rank: int) -> int:
        """Process number of a rank that has come to a place with a fault."""
        self.until_told(f"pid {rank}")
        return int((self.marks / f"pid {rank}").read_text())

    def signal(self, rank: int, number: int) -> None:
        """Send a signal to a rank."""
        os.kill(self.pid(rank), number)

    def is_stopped(self, rank: int) -> bool:
        """Whether SIGSTOP holds a rank."""
        return _state(self.pid(rank)) == "T"

    def left(self) -> list[int]:
        """The processes of the command that are still there, children of nobody included; zombies are none."""
        entry = f"{_MARK}={self._mark}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or is somebody else's
                named = (folder / "comm").read_text().rstrip("\n") == self._mark
                marked = named or entry in (folder / "environ").read_bytes().split(b"\0")
                if marked and _state(int(folder.name)) not in "ZX":
                    found.append(int(folder.name))
        return found

    def kill(self) -> None:
        """End every process of the command."""
        while left := self.left():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        for process in self.first:
            while process.poll() is None:
                time.sleep(0.01)

    # -- output ----------------------------------------------------------------------------------------------------

    @property
    def out(self) -> str:
        """What rank 0 and its children have printed."""
        return self.said("out")

    @property
    def err(self) -> str:
        """The same of their errors."""
        return self.said("err")

    def said(self, stream: str, rank: int = 0) -> str:
        """What a rank that was started by hand, and its children, have printed: ``out`` or ``err``."""
        return (self.marks / f"{stream} {rank}").read_text(errors="replace")

    def told(self) -> str:
        """All that is known, for a failure's message."""
        marks = sorted(file.name for file in self.marks.iterdir())
        codes = [process.poll() for process in self.first]
        printed = [
            f"-- {stream} {rank}\n{self.said(stream, rank)}"
            for rank in range(len(self.first))
            for stream in ("out", "err")
        ]
        return "\n".join([f"exit codes {codes}, processes left {self.left()}, marks {marks}", *printed])


@contextlib.contextmanager
def started(
    folder: Path,
    command: Literal["train", "evaluate"],
    *arguments: str,
    faults: Mapping[str, str] | None = None,
    first: str = "",
    launcher: Launcher = "own",
    ranks: tuple[int, ...] = (0, 1),
    environment: Mapping[str, str] | None = None,
    warm: bool = True,
    within: Sequence[str] = (),
) -> Iterator[Command]:
    """Start a command in a folder; at the end of the block nothing of it is left, or the test fails.

    Args:
        folder: where it runs; an earlier command's marks in it are removed.
        command: which.
        arguments: its own; those of two processes come in addition.
        faults: by ``RANK PLACE``, what is run there: ``tell``, ``wait``, ``blocked`` (in a collective that nobody
            joins), ``busy`` (computing), ``os``, ``signal``, ``torch``, ``BadInput`` and ``ResourceError`` are known.
        first: run in every process before it begins, to set the constants of a module.
        launcher: what starts the ranks.
        ranks: those that are started by hand.
        environment: further variables.
        warm: have the libraries imported beforehand; not by torchrun, and not within another program.
        within: a program and its arguments, to which the whole command is appended.
    """
    if not Path("/proc/self/environ").exists():
        pytest.skip("no /proc here to find processes by")
    marks = folder / "marks"
    shutil.rmtree(marks, ignore_errors=True)
    marks.mkdir()
    (marks / "faults.json").write_text(json.dumps({"first": first, **(faults or {})}))
    script = folder / f"{command}.py"
    script.write_text(f"FAULTS, MARKS, COMMAND = {_FAULTS!r}, {str(marks)!r}, {command!r}\n" + _SCRIPT)
    mark = f"t-{uuid.uuid4().hex[:12]}"
    common = marked_environment(mark)
    run = [str(script), *arguments, *DDP]
    if launcher == "torchrun":
        run = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}", *run]
    each = [torchrun_variables(rank) for rank in ranks] if launcher == "by hand" else [{}]
    port = {"MASTER_PORT": str(free_port())} if launcher == "by hand" else {}
    processes: list[subprocess.Popen | WarmProcess] = []
    for number, variables in enumerate(each):
        with (marks / f"out {number}").open("ab") as out, (marks / f"err {number}").open("ab") as err:
            env = {**common, **variables, **port, **(environment or {})}
            # In a process group of its own: a Ctrl-C at the tests' terminal is not for it.
            place = {"cwd": folder, "env": env, "stdout": out.fileno(), "stderr": err.fileno(), "process_group": 0}
            if warm and launcher != "torchrun" and not within:
                processes.append(WarmProcess(*run, **place, name=mark, spares=int(launcher == "own")))
                continue
            processes.append(subprocess.Popen([*within, sys.executable, *run], **place, stdin=subprocess.DEVNULL))
    running = Command(folder, mark, processes)
    try:
        yield running
        running.ended()
    finally:
        running.kill()


def marked_environment(mark: str) -> dict[str, str]:
    """The variables of a command of a test, without those that a launcher may have set, and with its mark."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    return {**keep, "OMP_NUM_THREADS": "1", _MARK: mark}


def torchrun_variables(rank: int, world: int = 2) -> dict[str, str]:
    """What torchrun tells a rank, all ranks being on this machine; without the port."""
    return {
        "TORCHELASTIC_RUN_ID": "by-hand",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "GROUP_WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
    }


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return some.getsockname()[1]


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    """A port at which somebody else listens."""
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        some.listen()
        yield some.getsockname()[1]


def _state(pid: int) -> str:
    """State of a process, as R, S, T or Z; X where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


_SCRIPT = """
import runpy
if __name__ == "__main__":
    raise SystemExit(runpy.run_path(FAULTS)["run"](COMMAND, MARKS))
"""
