"""The loader of a set of image files: worker processes decode them while the device works."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data._utils import signal_handling

from p2be_exp.augment.resized_crop import DRAWS
from p2be_exp.data.batch import Batch, Part, Share, Unreadable
from p2be_exp.data.decoding import TestView
from p2be_exp.data.files import FileSet, Names, decode, unreadable_line
from p2be_exp.data.parts import PartsLoader
from p2be_exp.errors import BadInput, Interrupted, ResourceError
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.system.parent import end_with_parent
from p2be_exp.system.program import name_of
from p2be_exp.system.signals import stop_signals

CHUNK = 32
"""Images that one process decodes at a time: 5 MB at 224 x 224, so that much waiting work needs little memory."""
LOOK = 1.0
"""Seconds between two looks at the stop signals and the clock while pictures are waited for."""
GRACE = 5.0
"""Seconds that pictures may still take to come after a stop signal: with them the step can be finished and saved."""
JOIN = 10.0
"""Seconds to wait for the end of a process that was killed: one that waits for dead storage may never end."""
SHARED_MEMORY = Path("/dev/shm")
"""Where the workers leave what they decoded, on Linux."""


class FileLoader(PartsLoader):
    """Batches of image files, each image once an epoch over all ranks (see :class:`~p2be_exp.data.ResidentLoader`).

    An image is a function of its file, `crop_seed`, epoch and index: neither the workers nor the batch size nor the
    number of ranks change it.

    Args:
        data: the files.
        batch_size, shuffle_seed, device, rank, world_size: see :class:`~p2be_exp.data.ResidentLoader`.
        workers: processes that decode; 0 decodes in this one.
        crop_seed: seed of a random resized crop and flip of every image; None: the images as they are tested on.
        keep_workers: for the next epoch.
        strict: an image that cannot be read is an error. Among several ranks its batch says so (:attr:`Batch.fault`):
            an error on one of them would leave the others waiting for it.
        timeout: seconds that a chunk of images may take to come from the workers, at most; None: without a limit.
        stop: the stop signal that has come, None before: asked while images are waited for.

    Raises:
        ResourceError: in a pass: a worker died, could not hand over what it decoded, or `timeout` was over.
        Interrupted: in a pass: a stop signal came, and the pictures do not.
    """

    chunk = CHUNK

    def __init__(
        self,
        data: FileSet,
        batch_size: int,
        *,
        shuffle_seed: int | None,
        device: torch.device,
        workers: int,
        crop_seed: int | None = None,
        keep_workers: bool = False,
        strict: bool = False,
        timeout: float | None = None,
        stop: Callable[[], int | None] = lambda: None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(
            data.name,
            data.labels,
            data.indices,
            batch_size,
            shuffle_seed=shuffle_seed,
            device=device,
            rank=rank,
            world_size=world_size,
        )
        self.data = data
        self.workers, self.crop_seed, self.keep_workers, self.strict = workers, crop_seed, keep_workers, strict
        self.timeout, self.stop = timeout, stop
        self._requests = _Requests()
        self._decoder: DataLoader | None = None
        self._decoded: Iterator[_Decoded] | None = None
        self._stop_seen: float | None = None  # how long this wait had lasted when the stop signal was seen
        self._stuck = False  # a wait was broken off

    def close(self) -> None:
        """End the worker processes; the next pass starts new ones.

        To be called where a pass may have been broken off: left to the garbage collector, which tears a worker's queue
        down before the worker, each takes five seconds.
        """
        # Between passes the DataLoader alone has the workers that are kept.
        served = getattr(self._decoder, "_iterator", None) if self._decoded is None else self._decoded
        self._decoded = None
        self._decoder = None
        if not hasattr(served, "_workers"):  # decoded in this process, or never
            return
        if self._stuck:  # PyTorch would wait ten seconds for each of them
            _unwatch(served)
            for worker in served._workers:
                worker.kill()
            self._stuck = False
        served._shutdown_workers()
        for worker in served._workers:
            if worker.is_alive():  # it does not come to its end, and ignores the SIGTERM that PyTorch sends then
                worker.kill()
                worker.join(JOIN)

    def _parts(self, chunks: Iterable[Tensor]) -> Iterator[Part]:
        requests = (self._request(positions) for positions in chunks)
        self._requests.now = requests
        if self._decoder is None:
            self._decoder = self._new_decoder()
        with _no_stop_signals():
            self._decoded = self._pass()
        try:
            while (decoded := self._next()) is not None:
                if decoded.unreadable and self.strict and self.world_size == 1:
                    raise BadInput(unreadable_line(self.data.folder, decoded.unreadable[0]))
                yield Part(decoded.images.numpy(), decoded.kept, decoded.unreadable)
        finally:
            requests.close()  # it holds this loader
            if self.keep_workers:
                self._decoded = None
            else:
                self.close()

    def _joined(self, share: Share, parts: list[Part]) -> Batch:
        batch, unreadable = super()._joined(share, parts), [each for part in parts for each in part.unreadable]
        if not self.strict or not unreadable:
            return batch
        return batch._replace(fault=unreadable_line(self.data.folder, unreadable[0]))

    def _report(self, unreadable: list[Unreadable], images: int) -> None:
        if not self.strict:  # else it is told as an error
            super()._report(unreadable, images)

    def _pass(self) -> Iterator[_Decoded]:
        """What the workers decode in this pass, in looks of :data:`LOOK` seconds."""
        if (kept := getattr(self._decoder, "_iterator", None)) is not None:
            kept._timeout = 0  # workers that are kept take up a new pass: an answer of theirs cannot be asked for again
        decoded = iter(self._decoder)
        if self.workers:
            decoded._timeout = LOOK
        return decoded

    def _next(self) -> _Decoded | None:
        """The next chunk of images; None after the last."""
        start, self._stop_seen = time.monotonic(), None
        while True:
            try:
                decoded = next(self._decoded, None)
            except RuntimeError as error:
                if "DataLoader timed out" in str(error):  # after LOOK seconds; it can be asked again
                    self._check_wait(time.monotonic() - start)
                    continue
                if "DataLoader worker" not in str(error):
                    raise
                raise ResourceError(
                    f"{self.name}: a process that decodes images died ({' '.join(str(error).split())}); "
                    f"{self._fewer()} need less memory"
                ) from error
            if decoded is not None and decoded.failure is not None:
                raise ResourceError(
                    f"{self.name}: a process that decodes images cannot hand them over ({decoded.failure}): "
                    f"{_shared_memory()}; {self._fewer()} need less of it"
                )
            return decoded

    def _check_wait(self, seconds: float) -> None:
        """End a wait for pictures that has become too long, or that a stop signal came in.

        Among several ranks nothing can be saved then: the others are in a step that this one has not begun.
        """
        if (number := self.stop()) is not None:
            self._stop_seen = seconds if self._stop_seen is None else self._stop_seen
            if seconds - self._stop_seen >= GRACE:
                self._stuck = True
                alone = self.world_size == 1
                if not alone:
                    sys.stderr.write(self._not_saved(number))
                raise Interrupted(number, waiting=alone)
        if self.timeout is not None and seconds > self.timeout:
            self._stuck = True
            raise ResourceError(
                f"{self.name}: no picture came from the {self.workers} processes that decode within "
                f"{self.timeout:g} s (dataset.timeout); {self._fewer()}, faster storage or a longer timeout may help"
            )

    def _not_saved(self, number: int) -> str:
        return (
            f"{signal.Signals(number).name}: {self.name}: rank {self.rank} waits for pictures that do not come, the "
            "others for it: this step cannot be finished and saved; steps since the last checkpoint are lost\n"
        )

    def _fewer(self) -> str:
        return f"fewer dataset.workers ({name_of('evaluate')}: dataset_workers; now {self.workers})"

    def _request(self, positions: Tensor) -> _Request:
        draws = None
        if self.crop_seed is not None:
            indices = self.indices[positions]
            draws = ImageRandom(self.crop_seed, self._epoch, indices, Purpose.RESIZED_CROP).uniform(DRAWS).numpy()
        return _Request(self.data.files(positions), draws)

    def _new_decoder(self) -> DataLoader:
        return DataLoader(
            _Decoder(self.data.folder, self.data.view),
            sampler=self._requests,
            batch_size=None,
            num_workers=self.workers,
            collate_fn=_as_it_is,
            worker_init_fn=partial(_start_worker, os.getpid()) if self.workers else None,
            persistent_workers=self.keep_workers and self.workers > 0,
            generator=torch.Generator(),  # else every epoch would draw from the global one
        )


class _Request(NamedTuple):
    names: Names
    draws: NDArray[np.float64] | None


class _Decoded(NamedTuple):
    images: Tensor  # uint8 (k, 3, S, S); a tensor, to travel in shared memory
    kept: NDArray[np.bool_]
    unreadable: tuple[Unreadable, ...]
    failure: str | None = None  # why the images could not be put there


class _Requests:
    """What is to be decoded in this pass; asked for again at the start of each."""

    now: Iterator[_Request] = iter(())

    def __iter__(self) -> Iterator[_Request]:
        return self.now


class _Decoder(Dataset):
    """In a worker process: knows the folder, gets names and draws, so that it holds no list of files."""

    def __init__(self, folder: Path, view: TestView) -> None:
        self.folder, self.view = folder, view

    def __getitem__(self, request: _Request) -> _Decoded:
        part = decode(self.folder, request.names, self.view, request.draws)
        images = torch.from_numpy(part.images)
        if get_worker_info() is None:
            return _Decoded(images, part.kept, part.unreadable)
        # Here, not in the thread that PyTorch has for it: an error there loses the images, and all wait for ever.
        try:
            return _Decoded(images.share_memory_(), part.kept, part.unreadable)
        except (RuntimeError, OSError) as error:
            nothing = torch.empty(0, dtype=torch.uint8)  # not a part of them: that would share them all
            return _Decoded(nothing, part.kept, part.unreadable, failure=" ".join(str(error).split()))


def _shared_memory() -> str:
    """How much shared memory there is, in words."""
    if not SHARED_MEMORY.is_dir():
        return "shared memory is full or too small"
    space = shutil.disk_usage(SHARED_MEMORY)
    return (
        f"{SHARED_MEMORY} has {space.free / 2**20:,.0f} MiB left of {space.total / 2**20:,.0f} MiB "
        "(a container's is often 64 MiB: docker run --shm-size=2g)"
    )


def _unwatch(served: Iterator[_Decoded]) -> None:
    """Let PyTorch not take the end of these workers for a failure, which it raises in the midst of anything."""
    if served._worker_pids_set:
        signal_handling._remove_worker_pids(id(served))
        served._worker_pids_set = False


def _as_it_is(item: object) -> object:
    return item


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
