"""The state of other processes of this machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Literal

ProcessState = Literal["alive", "stopped", "gone"]
"""``stopped``: by SIGSTOP or a debugger; ``gone``: no such process, or a zombie."""


def state_of(pid: int) -> ProcessState:
    """The state of a process; without ``/proc`` a stopped process counts as alive."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return "gone" if Path("/proc/self/stat").exists() else _by_signal(pid)
    except OSError:
        return "alive"
    letter = status.rpartition(b") ")[2][:1]  # the name before it may contain anything, even brackets
    others: dict[bytes, Literal["stopped", "gone"]] = {b"T": "stopped", b"t": "stopped", b"Z": "gone", b"X": "gone"}
    return others.get(letter, "alive")


def number_space() -> str:
    """An id of the space in which process ids are unique: the boot of the machine, and the PID namespace (container).

    Host names are not enough, since machines and containers may share one. Empty without ``/proc``.
    """
    with contextlib.suppress(OSError):
        machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{machine} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _by_signal(pid: int) -> ProcessState:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    return "alive"
