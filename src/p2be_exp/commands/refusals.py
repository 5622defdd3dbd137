"""Refusals in processes started by torchrun: a message common to all is printed by the first on each machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from p2be_exp.errors import BadInput
from p2be_exp.system.torchrun import processes_of_torchrun

PATIENCE = 10.0
"""Seconds in which the first process of a machine may reach the same refusal; torchrun then ends the others."""


def with_rank_in_refusals(command: Callable[[], None]) -> Callable[[], None]:
    """Prefix the refusals of a command with the rank, if torchrun started several processes.

    Most refusals occur in every process, since all have the same command line. A process that is not the first on its
    machine waits for torchrun to end it, and reports its refusal only if that does not happen: then it is its own.

    Args:
        command: takes its arguments from ``sys.argv``.
    """

    def run() -> None:
        try:
            command()
        except BadInput as error:
            rank = os.environ.get("RANK", "0")
            if processes_of_torchrun() < 2 or rank == "0":
                raise
            if os.environ.get("LOCAL_RANK", "0") != "0":
                time.sleep(PATIENCE)
            raise BadInput(f"rank {rank}: {error}") from error

    return run
