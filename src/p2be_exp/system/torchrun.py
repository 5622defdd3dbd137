"""What torchrun tells the processes that it starts, and what to type to start them by it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from p2be_exp.errors import BadInput
from p2be_exp.system.command_line import typed
from p2be_exp.system.program import is_program, program

if TYPE_CHECKING:
    from p2be_exp.config.schema import TrainerConfig

RUN_ID = "TORCHELASTIC_RUN_ID"
"""Environment variable that torchrun alone sets; those of ranks may be anybody's."""


def processes_of_torchrun() -> int:
    """Number of processes that torchrun started of this command, over all machines; 0 where it started none.

    Raises:
        BadInput: its variables are no numbers.
    """
    return number_from("WORLD_SIZE", "1") if RUN_ID in os.environ else 0


def number_from(name: str, default: str = "") -> int:
    """The whole number that a launcher left in a variable of the environment.

    Args:
        name: of the variable.
        default: where it is not set.

    Raises:
        BadInput: it is none.
    """
    text = os.environ.get(name, default)
    try:
        return int(text)
    except ValueError as error:
        raise BadInput(f"{name}={text}: a launcher sets a whole number there") from error


def check_one_process(what: str) -> None:
    """Check that torchrun did not start something several times that one process does.

    Args:
        what: it is, for the message.

    Raises:
        BadInput: it did; each of them would do, and write, the same.
    """
    if (started := processes_of_torchrun()) > 1:
        raise BadInput(f"{what}: one process does it, and torchrun started {started}; start it without torchrun")


def torchrun_command(trainer: TrainerConfig) -> str:
    """What to type on each machine to run this command by torchrun; in capitals what only the user knows.

    Args:
        trainer: the group of the job.
    """
    arguments = sys.argv[1:]
    keys = {argument.partition("=")[0].lstrip("+") for argument in arguments}
    folder = ["hydra.run.dir=FOLDER"] if is_program("train") and not keys & _NAMES_A_FOLDER else []
    where = [f"--nnodes={trainer.num_nodes}", f"--nproc-per-node={trainer.devices}"]
    meeting = ["--rdzv-backend=c10d", "--rdzv-endpoint=HOST:29500"]
    return typed("torchrun", *where, *meeting, *_what_torchrun_starts(), *arguments, *folder)


def _what_torchrun_starts() -> tuple[str, ...]:
    """A file of Python as it was typed, or a program, which torchrun looks for as a shell does if it is told so."""
    return (sys.argv[0],) if Path(sys.argv[0]).suffix == ".py" else ("--no-python", program())


_NAMES_A_FOLDER = {"hydra.run.dir", "resume"}
