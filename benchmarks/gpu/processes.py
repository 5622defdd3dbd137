"""A process with a limit: what it starts dies with it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

GRACE = 12.0
"""Seconds between SIGTERM, on which a training saves itself, and SIGKILL."""


class Ended(NamedTuple):
    """How a process ended: its code (negative: a signal), seconds, and whether its limit ended it."""

    code: int
    seconds: float
    out_of_time: bool


def run_limited(
    command: Sequence[str],
    limit: float,
    on_line: Callable[[str], None],
    *,
    cwd: Path | str,
    env: Mapping[str, str],
    grace: float = GRACE,
    clock: Callable[[], float] = time.monotonic,
) -> Ended:
    """Run a command in a process group of its own and hand on every line that it prints, as it comes.

    At the limit the whole group gets SIGTERM and, what is left of it after ``grace`` seconds, SIGKILL; likewise where
    this process is stopped.

    Args:
        command: the program and its arguments.
        limit: seconds.
        on_line: called with each line of standard output and standard error, without its end.
        cwd: the working directory.
        env: the environment.
        grace: seconds.
        clock: tells the time that the limit is about.
    """
    start = clock()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    out_of_time = False
    try:
        while process.poll() is None and not out_of_time:
            _hand_on(lines, on_line, wait=0.1)
            out_of_time = clock() - start > limit
    finally:
        end_group(process, grace)
        reader.join(timeout=2)  # a process that left the group may hold the pipe open
        _hand_on(lines, on_line)
    return Ended(process.returncode, clock() - start, out_of_time)


def end_group(process: subprocess.Popen, grace: float) -> None:
    """End a process that leads a group, and the group."""
    if process.poll() is None:
        _signal_group(process, signal.SIGTERM)
        begin = time.monotonic()
        while _group_lives(process) and time.monotonic() - begin < grace:
            time.sleep(0.05)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _group_lives(process: subprocess.Popen) -> bool:
    process.poll()  # or the leader itself stays as a zombie, which counts
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal_group(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
        os.killpg(process.pid, number)


def _read(stream: TextIO, lines: queue.SimpleQueue[str]) -> None:
    for line in stream:
        lines.put(line.rstrip("\n"))


def _hand_on(lines: queue.SimpleQueue[str], on_line: Callable[[str], None], wait: float = 0.0) -> None:
    """All lines that are there; with ``wait``, wait so many seconds for a first one."""
    try:
        on_line(lines.get(timeout=wait) if wait else lines.get_nowait())
        while True:
            on_line(lines.get_nowait())
    except queue.Empty:
        return
