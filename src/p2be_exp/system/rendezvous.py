"""The rendezvous of a job's ranks: a key-value store kept by rank 0, and the wait until all ranks have joined.

The wait is a loop in Python, so that a signal, or the failure of another rank, ends it; it reports the missing ranks.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import torch
from torch.distributed import PrefixStore, Store, TCPStore

from p2be_exp.errors import ResourceError
from p2be_exp.system.peers import Peers

SAID_AFTER = 5.0
"""Seconds after which a wait is reported."""

SAID_AFTER_STARTING = 30.0
"""The same if this process has just started the others, which take seconds to import PyTorch."""

UNSEEN = 60.0
"""Seconds after which a rank relies on the port without an announcement: file servers may delay new files."""

EXCHANGES = timedelta(minutes=30)
"""Minimum timeout of collective operations: one rank's share may take longer than another's."""


def open_store() -> TCPStore:
    """Open the store of a job whose processes all run on this machine, on a free port."""
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def meet(
    rank: int,
    size: int,
    address: str,
    port: int,
    timeout: float,
    *,
    keeps: TCPStore | None = None,
    start: str = "",
    peers: Peers | None = None,
) -> Store:
    """Wait until all ranks have joined.

    Args:
        rank: of this process.
        size: number of ranks.
        address: of the machine of rank 0.
        port: of its store.
        timeout: maximum wait in seconds.
        keeps: the store, if rank 0 has already opened it.
        start: identifies this start of the job among others that use the same store.
        peers: where rank 0 announces its store; PyTorch does not notice if another program has the port.

    Returns:
        The common store.

    Raises:
        ResourceError: another program listens on the port, or not all ranks joined in time.
    """
    by_agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # the store of torchrun
    wait = _Wait(timeout, SAID_AFTER if keeps is None else SAID_AFTER_STARTING)
    if keeps is None and rank == 0 and not by_agent:
        _check_free(port)
        keeps = TCPStore(address, port, is_master=True, wait_for_workers=False)
    if rank == 0 and peers is not None:
        peers.announce()  # also for a store opened before: the others look for it
    if keeps is None:
        seen = _Announced(None if by_agent else peers)
        where = f"rank {rank}: waiting for rank 0 at {address}:{port}"
        late = f"rank 0 did not join ({address}:{port} does not answer)"
        wait.until(lambda: _answers(address, port) and seen(), lambda: where, lambda: late)
        keeps = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=20))
    store = PrefixStore(f"p2be_exp/{start}", keeps)
    store.set(f"rank/{rank}", "here")

    def missing() -> list[int]:
        return [each for each in range(size) if not store.check([f"rank/{each}"])]

    def missing_ranks() -> str:
        return ", ".join(f"rank {each}" for each in missing())

    report = (lambda: f"waiting for {missing_ranks()}") if rank == 0 else (lambda: "")
    wait.until(lambda: not missing(), report, lambda: f"{missing_ranks()} did not join")
    return PrefixStore("group", store)


def join(store: Store, backend: str, rank: int, size: int, timeout: float, device: torch.device) -> None:
    """Create the process group of all ranks after :func:`meet`.

    Args:
        store: their common store.
        backend: ``nccl`` or ``gloo``.
        rank: of this process.
        size: number of ranks.
        timeout: maximum wait in seconds.
        device: of this process.
    """
    torch.distributed.init_process_group(
        backend,
        store=store,
        rank=rank,
        world_size=size,
        timeout=max(EXCHANGES, timedelta(seconds=timeout)),
        device_id=None if device.type == "cpu" else device,
    )


class _Announced:
    """Whether rank 0 has announced its store, or may have done so in a folder that this rank cannot see."""

    def __init__(self, peers: Peers | None) -> None:
        self._peers = peers
        self._until = time.monotonic() + UNSEEN

    def __call__(self) -> bool:
        return self._peers is None or self._peers.is_open(0) or time.monotonic() >= self._until


class _Wait:
    """A sequence of waits with a common timeout."""

    def __init__(self, timeout: float, said_after: float) -> None:
        self.timeout = timeout
        self._until = time.monotonic() + timeout
        self._say_at = time.monotonic() + said_after

    def until(self, there: Callable[[], bool], what: Callable[[], str], late: Callable[[], str]) -> None:
        """Poll until a condition holds.

        Args:
            there: the condition.
            what: description of the wait; an empty one is not printed.
            late: error message after the timeout.
        """
        for pause in _pauses():
            if there():
                return
            now = time.monotonic()
            if now >= self._until:
                raise ResourceError(f"trainer.timeout={self.timeout:g}: {late()}")
            if now >= self._say_at and (line := what()):
                self._say_at = float("inf")
                print(f"{line} (for at most {self.timeout:g} s, trainer.timeout)", file=sys.stderr, flush=True)
            time.sleep(pause)


def _pauses() -> Iterator[float]:
    pause = 0.02
    while True:
        yield pause
        pause = min(0.2, 1.2 * pause)


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2.0):
            return True
    except OSError:
        return False


def _check_free(port: int) -> None:
    """Check that rank 0 can listen on a port.

    PyTorch's own error would take ten lines.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as there:
        there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PyTorch does
        try:
            there.bind(("", port))
            there.listen(1)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "is taken by another program" if error.errno == errno.EADDRINUSE else "is not allowed"
            raise ResourceError(f"MASTER_PORT={port}: the port {why} on {socket.gethostname()}; set another") from error
