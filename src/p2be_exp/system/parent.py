"""A child process that ends with its parent, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have Linux kill this process as soon as the thread that forked it has ended; elsewhere nothing happens.

    A process that is killed ends no child. Whatever this one is doing, it need not look after its parent itself.

    Args:
        parent: number of the process that forked this one; where it is gone already, this one ends here.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
