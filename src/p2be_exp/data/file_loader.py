"""The loader of a set of image files: worker processes decode them while the device works."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from p2be_exp.augment.resized_crop import DRAWS
from p2be_exp.data.batch import Batch, Part, Share, Unreadable
from p2be_exp.data.decoding_worker import Decoded, Decoder, Request, shared_memory
from p2be_exp.data.files import FileSet, unreadable_line
from p2be_exp.data.parts import PartsLoader
from p2be_exp.data.worker_pool import NotYetError, WorkerDiedError, WorkerPool
from p2be_exp.errors import BadInput, Interrupted, ResourceError
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.system.program import name_of

CHUNK = 32
"""Images that one process decodes at a time: 5 MB at 224 x 224, so that much waiting work needs little memory."""
LOOK = 1.0
"""Seconds between two looks at the stop signals and the clock while pictures are waited for."""
GRACE = 5.0
"""Seconds that pictures may still take to come after a stop signal: with them the step can be finished and saved."""


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
        self.pool = WorkerPool(Decoder(data.folder, data.view), workers, keep_workers)
        self._stop_seen: float | None = None  # how long this wait had lasted when the stop signal was seen
        self._stuck = False  # a wait was broken off

    def close(self) -> None:
        """End the worker processes; the next pass starts new ones. See :meth:`WorkerPool.close`."""
        self.pool.close(kill=self._stuck)
        self._stuck = False

    def _parts(self, chunks: Iterable[Tensor]) -> Iterator[Part]:
        requests = (self._request(positions) for positions in chunks)
        self.pool.start(requests, wait=LOOK)
        try:
            while (decoded := self._next()) is not None:
                if decoded.unreadable and self.strict and self.world_size == 1:
                    raise BadInput(unreadable_line(self.data.folder, decoded.unreadable[0]))
                yield Part(decoded.images.numpy(), decoded.kept, decoded.unreadable)
        finally:
            requests.close()  # it holds this loader
            if self.keep_workers:
                self.pool.pause()
            else:
                self.close()

    def _joined(self, share: Share, parts: list[Part]) -> Batch:
        batch, unreadable = super()._joined(share, parts), [each for part in parts for each in part.unreadable]
        if not self.strict or not unreadable:
            return batch
        return batch._replace(fault=unreadable_line(self.data.folder, unreadable[0]))

    def _report(self, unreadable: list[Unreadable], images: int) -> None:
        if not self.strict:  # else it is an error
            super()._report(unreadable, images)

    def _next(self) -> Decoded | None:
        """The next chunk of images; None after the last."""
        start, self._stop_seen = time.monotonic(), None
        while True:
            try:
                decoded = self.pool.next()
            except NotYetError:
                self._check_wait(time.monotonic() - start)
                continue
            except WorkerDiedError as error:
                raise ResourceError(
                    f"{self.name}: a process that decodes images died ({error}); {self._fewer()} need less memory"
                ) from error
            if decoded is not None and decoded.failure is not None:
                raise ResourceError(
                    f"{self.name}: a process that decodes images cannot hand them over ({decoded.failure}): "
                    f"{shared_memory()}; {self._fewer()} need less of it"
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

    def _request(self, positions: Tensor) -> Request:
        draws = None
        if self.crop_seed is not None:
            indices = self.indices[positions]
            draws = ImageRandom(self.crop_seed, self._epoch, indices, Purpose.RESIZED_CROP).uniform(DRAWS).numpy()
        return Request(self.data.files(positions), draws)
