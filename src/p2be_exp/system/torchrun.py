"""torchrun's environment variables, and the command that starts a job by torchrun."""

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
"""Environment variable that only torchrun sets; rank variables may have other origins."""


def processes_of_torchrun() -> int:
    """Number of processes of this command that torchrun started, over all machines; 0 without torchrun.

    Raises:
        BadInput: its variables are not numbers.
    """
    return number_from("WORLD_SIZE", "1") if RUN_ID in os.environ else 0


def number_from(name: str, default: str = "") -> int:
    """The integer in an environment variable of a launcher.

    Args:
        name: of the variable.
        default: if it is not set.

    Raises:
        BadInput: it is not an integer.
    """
    text = os.environ.get(name, default)
    try:
        return int(text)
    except ValueError as error:
        raise BadInput(f"{name}={text}: must be a whole number, as a launcher sets it") from error


def check_one_process(what: str) -> None:
    """Check that torchrun did not start several processes of a single-process command.

    Args:
        what: the command, for messages.

    Raises:
        BadInput: it did; each of them would do, and write, the same.
    """
    if (started := processes_of_torchrun()) > 1:
        raise BadInput(f"{what}: runs in one process, but torchrun started {started}; start it without torchrun")


def torchrun_command(trainer: TrainerConfig) -> str:
    """The torchrun command for each machine; placeholders for what only the user knows are in capitals.

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
    """The Python file as it was typed, or the program, which ``--no-python`` makes torchrun find like a shell."""
    return (sys.argv[0],) if Path(sys.argv[0]).suffix == ".py" else ("--no-python", program())


_NAMES_A_FOLDER = {"hydra.run.dir", "resume"}
