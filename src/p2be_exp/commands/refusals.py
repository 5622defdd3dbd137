"""Refusals by the processes that torchrun starts: what all of them would say, the first on each machine says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from p2be_exp.errors import BadInput
from p2be_exp.system.torchrun import processes_of_torchrun

PATIENCE = 10.0
"""Seconds in which the first process of a machine may come to the same refusal: torchrun ends the others then."""


def told_by_rank(command: Callable[[], None]) -> Callable[[], None]:
    """A command whose refusals begin with the rank, where torchrun started it beside others.

    Most refusals are those of every process, since all have the same command line. One that is not the first on its
    machine waits for torchrun to end it, and speaks where that does not come: then the refusal is its own.

    Args:
        command: takes its arguments from ``sys.argv``.
    """

    def told() -> None:
        try:
            command()
        except BadInput as error:
            rank = os.environ.get("RANK", "0")
            if processes_of_torchrun() < 2 or rank == "0":
                raise
            if os.environ.get("LOCAL_RANK", "0") != "0":
                time.sleep(PATIENCE)
            raise BadInput(f"rank {rank}: {error}") from error

    return told
