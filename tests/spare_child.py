"""A child for a command that starts itself again: forked from it at its very beginning, let loose when it is asked for.

Rank 0 of several processes starts its own command once more for each of the others. In a warm process (see
:mod:`warm_process`) that would be the one start that imports PyTorch. So it forks a child before anything of the
command has run, which waits; where the command then starts itself again by ``subprocess.Popen``, that child takes the
arguments, the folder and the environment that were asked for. To its parent it is a child like any other: with a
number, to be waited for, to be killed, and with the same streams.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any


def fork_spare(request: dict[str, Any]) -> dict[str, Any]:
    """Fork the child; returns in both, with what is to be run there.

    Args:
        request: what this process is to run; its keys ``argv``, ``cwd`` and ``env`` are the child's own there.
    """
    mine, its = socket.socketpair()
    if (pid := os.fork()) == 0:
        mine.close()
        text = b""
        while not text.endswith(b"\n"):
            if not (more := its.recv(1 << 20)):
                os._exit(0)  # the parent has ended without
            text += more
        its.close()
        asked = json.loads(text)
        signal.pthread_sigmask(signal.SIG_SETMASK, asked.pop("blocked"))
        return {**request, **asked}
    its.close()
    _Popen.spare, _Popen.asks = pid, mine
    subprocess.Popen = _Popen
    return request


class _Popen(subprocess.Popen):
    """Takes the spare child where this very command is started again, with its own streams."""

    spare: int | None = None
    asks: socket.socket

    def _execute_child(self, *arguments: Any) -> None:
        real = super()._execute_child
        asked = inspect.signature(real).bind(*arguments).arguments
        again = list(asked["args"])[:2] == [sys.executable, str(Path(sys.argv[0]).absolute())]
        own_streams = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")] == [-1, -1, -1]
        if _Popen.spare is None or not again or not own_streams or asked["preexec_fn"] is not None:
            real(*arguments)
            return
        env = dict(os.environ if asked["env"] is None else asked["env"])
        blocked = [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
        request = {"argv": asked["args"][1:], "env": env, "cwd": str(asked["cwd"] or Path.cwd()), "blocked": blocked}
        _Popen.asks.sendall(json.dumps(request).encode() + b"\n")
        _Popen.asks.close()
        self.pid, _Popen.spare = _Popen.spare, None
        self._child_created = True
