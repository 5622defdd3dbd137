"""Two ranks of a gloo group for a test, forked from its process: they import nothing again, so they cost little."""

import contextlib
import io
import multiprocessing
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning.utilities import rank_zero_only

from commandline import HANGS


class Ended(NamedTuple):
    """What the function returned on a rank, and what it printed."""

    value: Any
    out: str
    err: str


def on_two_ranks(folder: Path, function: Callable[[int], Any]) -> list[Ended]:
    """Call a function with each rank, in a process each that believes to be one of torchrun's.

    Args:
        folder: to write in: the ranks meet there, and leave what they return.
        function: what it returns is pickled.
    """
    ranks = [multiprocessing.get_context("fork").Process(target=_be, args=(folder, r, function)) for r in range(2)]
    try:
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(HANGS)
        told = [(folder / f"error{number}").read_text() for number in range(2) if (folder / f"error{number}").exists()]
        assert [rank.exitcode for rank in ranks] == [0, 0], "\n".join(told)
    finally:
        for rank in ranks:
            rank.kill()
    return [torch.load(folder / f"ended{rank}", weights_only=False) for rank in range(2)]


def _be(folder: Path, rank: int, function: Callable[[int], Any]) -> None:
    torch.set_num_threads(1)  # a fork has none of the threads that computed before
    place = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ |= {name: str(value) for name, value in place.items()} | {"TORCHELASTIC_RUN_ID": "test"}
    rank_zero_only.rank = rank
    out, err = io.StringIO(), io.StringIO()
    try:
        torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            value = function(rank)
        torch.save(Ended(value, out.getvalue(), err.getvalue()), folder / f"ended{rank}")
        torch.distributed.barrier()  # the first of the two to go would end the other's last message
    except BaseException:
        (folder / f"error{rank}").write_text(traceback.format_exc())
        raise
