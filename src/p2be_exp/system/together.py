"""Ranks that end together: one that fails or is stopped records its reason, and the others end with that reason."""

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
"""Environment variable with the shared folder, for processes started by the first one."""

PATIENCE = 10.0
"""Seconds that a rank waits for the reason of a lost peer, or for a folder to record its own."""

LATE = 5.0
"""Seconds that rank 0, at the end of a job, waits for a rank that has not registered yet."""

_CURRENT: list[Peers] = []


@contextmanager
def together(trainer: TrainerConfig, folder: Path, key: str, watch: Watch) -> Iterator[None]:
    """End together with the other ranks of a job, whichever ends first; no effect in a job of one process.

    Args:
        trainer: the group of the job.
        folder: the folder that the job writes to, owned by rank 0.
        key: the option that names it.
        watch: of this process.

    Raises:
        PeerFailed: in rank 0: another rank failed.
        Interrupted: in rank 0: it or another rank was stopped.
        ResourceError: in rank 0: the communication failed, and no rank has recorded a reason.
        SystemExit: in another rank, instead of an error that rank 0 reports.
    """
    if processes(trainer) == 1:
        had_group = _has_group()
        try:
            yield
        finally:
            if not had_group:
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
        if peers.rank > 0 and (code := _code_if_rank_0_reports(peers, error)) is not None:
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
    """Record the reason if the block fails; if it fails because another rank has, raise that rank's reason.

    Args:
        watch: of this process.
        peers: of the job; default those of this process's job.
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
        failure = ResourceError(f"the communication with the other processes failed: {_first_line(error)}")
        leave_reason(failure, peers)
        raise failure from error
    except Interrupted as stop:
        leave_reason(stop, peers)
        raise


def current_peers() -> Peers | None:
    """The ranks of this process's job; None outside a job and in a job of one process."""
    return _CURRENT[-1] if _CURRENT else None


def leave_reason(error: BaseException, peers: Peers | None = None) -> None:
    """Record why this rank ends, for the others; consequences of another rank's end are not recorded.

    Args:
        error: the reason.
        peers: of the job; default those of this process's job.
    """
    peers = peers or current_peers()
    if peers is not None and not isinstance(error, PeerFailed) and not is_exchange_error(error):
        peers.leave(Ending.of(peers.rank, error), PATIENCE if peers.rank else 0.0)


def is_exchange_error(error: BaseException) -> bool:
    """Whether an error is a failed communication between processes, whose reason is elsewhere."""
    if isinstance(error, torch.distributed.DistError):
        return True
    if isinstance(error, ResourceError):  # our own message, which may contain any folder name
        return False
    return isinstance(error, RuntimeError) and _OF_EXCHANGES.search(str(error)) is not None


_OF_EXCHANGES = re.compile(r"\bgloo\b|NCCL|ncclComm")


def _code_if_rank_0_reports(peers: Peers, error: BaseException) -> int | None:
    """The exit code of a rank whose reason rank 0 reports; None if the rank must report it itself."""
    if isinstance(error, PeerFailed):
        return 1
    if isinstance(error, Interrupted):
        return 0  # a process that failed would have torchrun stop rank 0, which is saving
    if _rank_0_has_same_error(peers, error):
        return 1
    one_line_is_all = isinstance(error, BadInput | ResourceError) or (isinstance(error, OSError) and is_full(error))
    return Ending.of(peers.rank, error).exit_code if one_line_is_all and peers.left is not None else None


def _rank_0_has_same_error(peers: Peers, error: BaseException) -> bool:
    """Whether rank 0 fails with the same error, as all ranks do for most faults; it may fail a moment later."""
    mine, until = Ending.of(peers.rank, error).line, time.monotonic() + 1.0
    while time.monotonic() < until:
        if (other := peers.ended()) is not None and (other.rank, other.line) == (0, mine):
            return True
        time.sleep(0.05)
    return False


def _reason(watch: Watch, peers: Peers) -> Ending | None:
    """Why the communication with another rank failed, as soon as it is recorded."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if (ending := watch.ending or reason_of(peers)) is not None:
            return ending
        time.sleep(0.1)
    return None


def _wait_for_the_others(peers: Peers) -> None:
    """Wait until the other ranks have read how this one ended and finished; some may not have registered yet."""
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
    """Destroy the process group of a finished job, so that another may follow; NCCL's ends with the process."""
    if _has_group() and torch.distributed.get_backend() == "gloo":
        torch.distributed.destroy_process_group()


def start_of(trainer: TrainerConfig) -> str:
    """Identifier of this start of a job by torchrun or srun, in hexadecimal; the same in all its processes."""
    if launcher(trainer) == "torchrun":
        names = ["TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"]
        on_their_own = os.environ.get("GROUP_WORLD_SIZE", "1") != "1"  # each machine counts only its own failures
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" or not on_their_own:
            names.append("TORCHELASTIC_RESTART_COUNT")  # otherwise every start has another port
    else:
        names = ["SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"]
    parts = [os.environ.get(name) for name in names]
    if os.environ.get("GROUP_WORLD_SIZE") == "1":  # where a port is chosen by hand, all of these may be as before
        parts.append(str(Path(os.environ.get("TORCHELASTIC_ERROR_FILE", "")).parent.parent))  # of one torchrun
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _first_line(error: BaseException) -> str:
    return one_line(str(error).strip().partition("\n")[0])[:300]
