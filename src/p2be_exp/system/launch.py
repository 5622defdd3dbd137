"""The processes of a job started by its first process, one for each further device of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from p2be_exp.system.peers import Ending
from p2be_exp.system.signals import stop_signals

if TYPE_CHECKING:
    from p2be_exp.system.peers import Peers

LAST = 20.0
"""Seconds for the others to end after the first one; then they are killed."""

KILLED = 5.0
"""Seconds to wait for a killed process: one blocked on dead storage remains."""


class Children:
    """The processes started by this one, by rank; the watch reads them while the main thread starts more."""

    def __init__(self) -> None:
        self._by_rank: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        """Start this command again as ranks 1 to ``number`` - 1; ``LOCAL_RANK`` gives each its rank."""
        # Stop signals are blocked until they are handled: during the imports one would end in a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals())
        try:
            for rank in range(1, number):
                environment = {**os.environ, "LOCAL_RANK": str(rank)}
                self._by_rank[rank] = subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=environment)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def has(self, rank: int) -> bool:
        """Whether a rank is a child, whose exit code will be known."""
        return rank in self._by_rank

    def failed(self, peers: Peers) -> Ending | None:
        """The ending of a child that had not finished its part; None if there is none."""
        for rank, child in list(self._by_rank.items()):
            if child.poll() is not None and not peers.is_done(rank):
                return peers.ended() or Ending(rank, 1, _how(child.returncode))
        return None

    def wait(self, seconds: float = LAST) -> None:
        """Wait until all have ended; kill those that have not ended after ``seconds``."""
        until = time.monotonic() + seconds
        for child in list(self._by_rank.values()):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, until - time.monotonic()))
        self.kill()

    def kill(self) -> bool:
        """Kill the remaining children; return whether there were any, ended or not."""
        left = [child for child in list(self._by_rank.values()) if child.poll() is None]
        for child in left:
            child.kill()
        for child in left:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(KILLED)
        had_some = bool(self._by_rank)
        self._by_rank.clear()
        return had_some


children = Children()
"""The children of this process."""


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        memory = "; is there enough memory?" if -code == signal.SIGKILL else ""
        return f"ended by {signal.Signals(-code).name}{memory}"
    return f"ended by signal {-code}"
