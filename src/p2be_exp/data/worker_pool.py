"""Worker processes that answer requests in order: an adapter to PyTorch's DataLoader.

The one module that uses private members of the DataLoader: those that hold its processes, the time that it waits for
them, and its watch over their deaths.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils import signal_handling

from p2be_exp.system.parent import end_with_parent
from p2be_exp.system.signals import stop_signals

JOIN = 10.0
"""Seconds to wait for the end of a process that was killed: one that waits for dead storage may never end."""


class NotYetError(Exception):
    """No answer has come in time; it can be asked for again."""


class WorkerDiedError(Exception):
    """A worker process has ended; the message says how, in one line."""


class WorkerPool:
    """Processes that answer the requests of one pass after another.

    Args:
        answers: what is asked in a worker, ``answers[request]``; it travels to the workers, so that it should be small.
        workers: number of processes; 0 answers in this one.
        keep: keep the processes for the next pass.
    """

    def __init__(self, answers: Dataset, workers: int, keep: bool) -> None:
        self.answers, self.workers, self.keep = answers, workers, keep
        self._requests = _Requests()
        self._loader: DataLoader | None = None
        self._pass: Iterator[Any] | None = None

    @property
    def processes(self) -> list[BaseProcess]:
        """The worker processes; none before the first pass, after the last, or with `workers` 0."""
        return getattr(self._serving(), "_workers", [])

    def start(self, requests: Iterator[Any], wait: float) -> None:
        """Begin a pass over some requests.

        Args:
            requests: taken from it a few ahead of the answers.
            wait: seconds that :meth:`next` waits, at most.
        """
        self._requests.now = requests
        if self._loader is None:
            self._loader = self._new_loader()
        with _no_stop_signals():
            if (kept := getattr(self._loader, "_iterator", None)) is not None:
                # Workers that are kept take up a new pass, and this answer of theirs cannot be asked for again.
                kept._timeout = 0
            self._pass = iter(self._loader)
        if self.workers:
            self._pass._timeout = wait  # type: ignore[attr-defined]

    def next(self) -> Any:
        """The next answer; None after the last.

        Raises:
            NotYetError: there is none yet.
            WorkerDiedError: a worker died.
        """
        assert self._pass is not None, "start() comes first"
        try:
            return next(self._pass, None)
        except RuntimeError as error:  # PyTorch has one type for all of them
            if "DataLoader timed out" in str(error):
                raise NotYetError from error
            if str(error).startswith(
                "DataLoader worker"
            ):  # a fault inside a worker is "Caught ... in DataLoader worker"
                raise WorkerDiedError(" ".join(str(error).split())) from error
            raise

    def pause(self) -> None:
        """End a pass; the workers are kept for the next."""
        self._pass = None

    def close(self, kill: bool = False) -> None:
        """End the processes; the next pass starts new ones.

        To be called where a pass may have been broken off: left to the garbage collector, which tears a worker's queue
        down before the worker, each takes five seconds.

        Args:
            kill: they are known to be stuck, and PyTorch would wait ten seconds for each.
        """
        serving, workers = self._serving(), self.processes
        self._pass = self._loader = None
        if not workers:  # answered in this process, or never
            return
        if kill:
            _stop_watching(serving)
            for worker in workers:
                worker.kill()
        serving._shutdown_workers()
        for worker in workers:
            if worker.is_alive():  # it does not come to its end, and ignores the SIGTERM that PyTorch sends then
                worker.kill()
                worker.join(JOIN)

    def _serving(self) -> Any:
        """PyTorch's iterator, which has the processes; between passes the DataLoader alone has those that are kept."""
        return getattr(self._loader, "_iterator", None) if self._pass is None else self._pass

    def _new_loader(self) -> DataLoader:
        return DataLoader(
            self.answers,
            sampler=self._requests,
            batch_size=None,
            num_workers=self.workers,
            collate_fn=_unchanged,
            worker_init_fn=partial(_start_worker, os.getpid()) if self.workers else None,
            persistent_workers=self.keep and self.workers > 0,
            generator=torch.Generator(),  # else every epoch would draw from the global one
        )


class _Requests:
    """The requests of this pass; asked for again at the start of each."""

    now: Iterator[Any] = iter(())

    def __iter__(self) -> Iterator[Any]:
        return self.now


def _unchanged(item: object) -> object:
    return item


def _stop_watching(serving: Any) -> None:
    """Keep PyTorch from taking the end of these workers for a failure, which it raises in the midst of anything."""
    if serving._worker_pids_set:
        signal_handling._remove_worker_pids(id(serving))
        serving._worker_pids_set = False


def _start_worker(main: int, worker: int) -> None:
    """Leave the signals that stop a job to the main process, which finishes its step and saves, and end with it.

    A terminal sends SIGINT, a batch system SIGTERM, to every process of the group. PyTorch has a worker look every few
    seconds whether its main process is still there, but not in the middle of a picture that dead storage never sends.
    """
    if multiprocessing.get_start_method() == "fork":  # else another process than the main one may have started it
        end_with_parent(main)
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _no_stop_signals() -> Iterator[None]:
    """Hold the signals back while workers start: one that has not come to ignore them yet would die of them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
