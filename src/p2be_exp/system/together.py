"""Ranks that end together: one that fails or is stopped leaves its reason, and the others end with that reason."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from p2be_exp.errors import BadInput, Interrupted, ResourceError, one_line
from p2be_exp.system.atomic import is_full, refuse_links
from p2be_exp.system.launch import LAST, children
from p2be_exp.system.peers import FOLDER, Ending, PeerFailed, Peers
from p2be_exp.system.ranks import launcher, processes, rank, starter
from p2be_exp.system.signals import stop_signals
from p2be_exp.system.watch import Watch, reason_of

if TYPE_CHECKING:
    from p2be_exp.config.schema import TrainerConfig

PEERS = "P2BE_PEERS"
"""The variable that tells the processes that the first one starts which folder all of them see."""

PATIENCE = 10.0
"""Seconds that a rank waits for the reason of another whose connection is gone, or for a place to leave its own."""

LATE = 5.0
"""Seconds that rank 0, at the end of a job, waits for a rank that has not come yet."""

_CURRENT: list[Peers] = []


@contextmanager
def together(trainer: TrainerConfig, folder: Path, key: str, watch: Watch) -> Iterator[None]:
    """End with the other ranks of a job, whichever of them is the first to end; for a job of one process nothing.

    Args:
        trainer: the group of the job.
        folder: that the job writes into, owned by rank 0.
        key: the option that named it.
        watch: of this process.

    Raises:
        PeerFailed: in rank 0: another rank failed.
        Interrupted: in rank 0: it or another rank was stopped.
        ResourceError: in rank 0: the exchange with the others failed, for a reason that none of them has left.
        SystemExit: in another rank, in the place of what rank 0 tells.
    """
    if processes(trainer) == 1:
        somebodys = _has_group()
        try:
            yield
        finally:
            if not somebodys:
                _leave_group()  # of trainer=ddp with one device
        return
    peers = _peers(trainer, folder, key)
    peers.register()
    parent = starter(trainer)
    watch.accompany(peers, parent)
    _CURRENT.append(peers)
    try:
        with ended_by_others(watch, peers):
            if parent is not None:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, stop_signals())  # see Children.start
            yield
        _leave_group()
    except BaseException as error:
        if peers.rank > 0 and (code := _told_by_rank_0(peers, error)) is not None:
            raise SystemExit(code) from error
        raise
    finally:
        _CURRENT.remove(peers)
        watch.is_coming_out()
        peers.finish()
        if peers.rank == 0:
            try:
                if launcher(trainer) == "lightning":
                    children.wait()
                else:
                    _wait_for_the_others(peers)
            finally:  # a signal may end the wait
                peers.remove()


@contextmanager
def ended_by_others(watch: Watch, peers: Peers | None = None) -> Iterator[None]:
    """Leave the reason where the block fails; where it fails because another rank has, raise what that one says.

    Args:
        watch: of this process.
        peers: of the job; default those of the job that this process is in.
    """
    peers = peers or current_peers()
    if peers is None:
        yield
        return
    try:
        yield
    except PeerFailed:
        raise
    except Exception as error:
        if not is_exchange_error(error):
            leave_reason(error, peers)
            raise
        reason = _reason(watch, peers)
        if reason is not None:
            raise reason.error() from None
        told = ResourceError(f"the exchange with the other processes failed: {_first_line(error)}")
        leave_reason(told, peers)
        raise told from error
    except Interrupted as stop:
        leave_reason(stop, peers)
        raise


def current_peers() -> Peers | None:
    """The ranks of the job that this process is in; None outside, and in a job of one process."""
    return _CURRENT[-1] if _CURRENT else None


def leave_reason(error: BaseException, peers: Peers | None = None) -> None:
    """Leave why this rank ends, for the others; what only follows from another rank's end is no reason.

    Args:
        error: why.
        peers: as above.
    """
    peers = peers or current_peers()
    if peers is not None and not isinstance(error, PeerFailed) and not is_exchange_error(error):
        peers.leave(Ending.of(peers.rank, error), PATIENCE if peers.rank else 0.0)


def is_exchange_error(error: BaseException) -> bool:
    """Whether an error says that an exchange between processes failed, which has its reason elsewhere."""
    if isinstance(error, torch.distributed.DistError):
        return True
    if isinstance(error, ResourceError):  # our own words, which may name any folder
        return False
    return isinstance(error, RuntimeError) and _OF_EXCHANGES.search(str(error)) is not None


_OF_EXCHANGES = re.compile(r"\bgloo\b|NCCL|ncclComm")


def _told_by_rank_0(peers: Peers, error: BaseException) -> int | None:
    """The exit code of another rank whose reason rank 0 tells; None where this one has to tell it itself."""
    if isinstance(error, PeerFailed):
        return 1
    if isinstance(error, Interrupted):
        return 0  # a process that failed would have torchrun stop rank 0, which is saving
    if _is_told(peers, error):
        return 1
    one_line_is_all = isinstance(error, BadInput | ResourceError) or (isinstance(error, OSError) and is_full(error))
    return Ending.of(peers.rank, error).exit_code if one_line_is_all and peers.left is not None else None


def _is_told(peers: Peers, error: BaseException) -> bool:
    """Whether rank 0 fails of the very same, as all ranks do of most faults; it may come to it a moment later."""
    mine, until = Ending.of(peers.rank, error).line, time.monotonic() + 1.0
    while time.monotonic() < until:
        if (other := peers.ended()) is not None and (other.rank, other.line) == (0, mine):
            return True
        time.sleep(0.05)
    return False


def _reason(watch: Watch, peers: Peers) -> Ending | None:
    """Why the exchange with another rank failed, as soon as it stands somewhere."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if (ending := watch.ending or reason_of(peers)) is not None:
            return ending
        time.sleep(0.1)
    return None


def _wait_for_the_others(peers: Peers) -> None:
    """Wait until the other ranks have read how this one ended, and have done their part; some may not have come yet."""
    begin = time.monotonic()
    while time.monotonic() < begin + LAST:
        late = len(peers.registered()) < peers.size - 1 and time.monotonic() < begin + LATE
        if not late and not peers.are_working():
            return
        time.sleep(0.05)


def _peers(trainer: TrainerConfig, folder: Path, key: str) -> Peers:
    number, size = rank(trainer), processes(trainer)
    if launcher(trainer) == "lightning":
        if number == 0:
            try:
                os.environ[PEERS] = tempfile.mkdtemp(prefix="p2be_exp-")
            except OSError as error:
                raise ResourceError(f"no folder for temporary files (TMPDIR): {error.strerror}") from error
        return Peers(Path(os.environ[PEERS]), number, size, "0", makes_folder=False)
    if number == 0:
        refuse_links(folder, FOLDER, key=key)
    return Peers(Path(folder).absolute() / FOLDER, number, size, start_of(trainer), makes_folder=number == 0)


def _has_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _leave_group() -> None:
    """End the process group of a job that is done, so that another one may follow; NCCL's ends with the process."""
    if _has_group() and torch.distributed.get_backend() == "gloo":
        torch.distributed.destroy_process_group()


def start_of(trainer: TrainerConfig) -> str:
    """What tells this start of a job by torchrun or srun from others, hexadecimal; the same in all of its processes."""
    if launcher(trainer) == "torchrun":
        names = ["TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"]
        on_their_own = os.environ.get("GROUP_WORLD_SIZE", "1") != "1"  # machines count only what failed on them
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" or not on_their_own:
            names.append("TORCHELASTIC_RESTART_COUNT")  # else every start has another port
    else:
        names = ["SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"]
    told = [os.environ.get(name) for name in names]
    if os.environ.get("GROUP_WORLD_SIZE") == "1":  # where a port is chosen by hand, all of these may be as before
        told.append(str(Path(os.environ.get("TORCHELASTIC_ERROR_FILE", "")).parent.parent))  # of one torchrun
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def _first_line(error: BaseException) -> str:
    return one_line(str(error).strip().partition("\n")[0])[:300]
