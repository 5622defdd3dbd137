"""The processes of a job that the first of them starts, one for each further device of this machine."""

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
"""Seconds that the others have to end after the first one; what is left then is killed."""

KILLED = 5.0
"""Seconds that a killed one is waited for: in a call to storage that is dead it stays."""


class Children:
    """The processes that this one started, by rank; the watch looks at them while the main thread starts more."""

    def __init__(self) -> None:
        self._by_rank: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        """Start this very command again as ranks 1 to ``number`` - 1; they know their place by ``LOCAL_RANK``."""
        # They keep a stop signal until they listen to it: one that came during their imports would end in a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals())
        try:
            for rank in range(1, number):
                environment = {**os.environ, "LOCAL_RANK": str(rank)}
                self._by_rank[rank] = subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env=environment)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def failed(self, peers: Peers) -> Ending | None:
        """How a child ended that had not done its part, and left no word; None where there is none."""
        for rank, child in list(self._by_rank.items()):
            if child.poll() is not None and not peers.is_done(rank):
                return peers.ended() or Ending(rank, 1, _how(child.returncode))
        return None

    def wait(self, seconds: float = LAST) -> None:
        """Wait until all have ended; kill those that have not after some seconds."""
        until = time.monotonic() + seconds
        for child in list(self._by_rank.values()):
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, until - time.monotonic()))
        self.kill()

    def kill(self) -> bool:
        """Kill those that are left; whether there were any, ended or not."""
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
"""Those of this process."""


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        memory = "; is there enough memory?" if -code == signal.SIGKILL else ""
        return f"ended by {signal.Signals(-code).name}{memory}"
    return f"ended by signal {-code}"
