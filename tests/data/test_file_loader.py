"""The loader of image files: the same batches by any workers and ranks, resumed anywhere, and images left out."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from commandline import wait_until
from p2be_exp.augment.resized_crop import DRAWS
from p2be_exp.data import ImageSet, ResidentLoader, decoding_worker, file_loader, worker_pool
from p2be_exp.data.decoding import TestView
from p2be_exp.data.file_loader import FileLoader
from p2be_exp.data.files import FileSet, decode
from p2be_exp.data.listing import listed
from p2be_exp.errors import BadInput, Interrupted, ResourceError
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.system.process_table import state_of
from pictures import WNIDS, damage, write_part

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Not to be changed."""
    return write_part(tmp_path_factory.mktemp("pictures") / "train", each=7)


def listed_in(folder) -> FileSet:
    files = listed(folder, WNIDS, TestView(16, 18), "made/train")
    return files.subset([*range(3, len(files)), 0, 1, 2])  # so that positions are not indices


def loader(files, batch_size=4, workers=0, **settings) -> FileLoader:
    defaults = {"shuffle_seed": 5, "device": CPU, "crop_seed": 9}
    return FileLoader(files, batch_size, workers=workers, **{**defaults, **settings})


def loader_at(files, epoch) -> FileLoader:
    fresh = loader(files)
    fresh.set_epoch(epoch)
    return fresh


def assert_same(one, other):
    one, other = list(one), list(other)
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert all(map(torch.equal, left[:3], right[:3]))
        assert left[3:] == right[3:]


def drawn(files: FileSet, positions: Tensor, seed: int, epoch: int) -> np.ndarray:
    draws = ImageRandom(seed, epoch, files.indices[positions], Purpose.RESIZED_CROP).uniform(DRAWS).numpy()
    return decode(files.folder, files.files(positions), files.view, draws).images


def test_batches_are_those_of_a_loader_of_images_in_memory(folder):
    files = listed_in(folder)
    for world_size, shuffle_seed in itertools.product((1, 2, 4), (None, 3)):
        for rank in range(world_size):
            where = {"shuffle_seed": shuffle_seed, "rank": rank, "world_size": world_size}
            decoded = ImageSet(files.pictures(torch.arange(21)), files.labels, WNIDS, indices=files.indices)
            assert_same(loader(files, 4, crop_seed=None, **where), ResidentLoader(decoded, 4, **where))


def test_training_images_are_a_function_of_seed_epoch_and_image(folder):
    files = listed_in(folder)
    position = {int(index): place for place, index in enumerate(files.indices)}
    for epoch in (0, 4):
        mine = loader(files, crop_seed=9)
        mine.set_epoch(epoch)
        for batch in mine:
            places = torch.tensor([position[int(index)] for index in batch.indices])
            assert np.array_equal(batch.images.numpy(), drawn(files, places, 9, epoch))
            assert not np.array_equal(batch.images.numpy(), drawn(files, places, 8, epoch))


@pytest.mark.parametrize("crop_seed", [None, 9])
def test_neither_workers_nor_chunks_change_a_batch(folder, crop_seed, monkeypatch):
    files = listed_in(folder)
    expected = list(loader(files, 5, crop_seed=crop_seed))
    for workers, chunk in ((0, 2), (1, 32), (2, 2)):
        monkeypatch.setattr(FileLoader, "chunk", chunk)
        assert_same(loader(files, 5, workers, crop_seed=crop_seed), expected)


def test_neither_batch_size_nor_ranks_change_an_image(folder):
    files = listed_in(folder)
    alone = {int(i): image for batch in loader(files, 21) for i, image in zip(batch.indices, batch.images, strict=True)}
    assert len(alone) == 21
    for rank in range(3):
        for batch in loader(files, 4, rank=rank, world_size=3):
            assert all(torch.equal(alone[int(i)], x) for i, x in zip(batch.indices, batch.images, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_after_each_other_with_the_same_workers(folder, workers):
    files, kept = listed_in(folder), []
    mine = loader(files, workers=workers, keep_workers=True)
    for epoch in range(3):
        mine.set_epoch(epoch)
        assert_same(mine, loader_at(files, epoch))
        kept.append([process.pid for process in mine.pool.processes])
    assert kept[0] == kept[1] == kept[2]
    assert len(kept[0]) == workers
    mine.close()


def test_a_pass_that_is_broken_off_leaves_nothing_to_the_next(folder):
    files = listed_in(folder)
    mine = loader(files, workers=2, keep_workers=True)
    list(itertools.islice(mine, 2))
    mine.set_epoch(3)
    assert_same(mine, loader_at(files, 3))
    mine.close()
    assert_same(mine, loader_at(files, 3))
    mine.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_resuming_after_every_batch_serves_exactly_the_rest(folder, workers):
    files = listed_in(folder)
    expected = list(loader_at(files, 2))
    for stop in range(1, 6) if workers == 0 else (2,):
        stopped = loader_at(files, 2)
        list(itertools.islice(stopped, stop))
        resumed = loader(files, workers=workers)
        resumed.load_state_dict(stopped.state_dict())
        resumed.set_epoch(2)
        assert_same(itertools.islice(resumed, 1), expected[stop : stop + 1])
        again = loader(files)  # stopped a second time within the epoch
        again.load_state_dict(resumed.state_dict())
        again.set_epoch(2 + (stop == 5))
        assert_same(again, expected[stop + 1 :] or loader_at(files, 3))
        resumed.close()


def test_it_leaves_the_global_random_state_alone(folder):
    before = torch.get_rng_state()
    list(loader(listed_in(folder), workers=1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("started", [True, False])
def test_the_workers_leave_the_stop_signals_to_the_main_process(folder, number, started, monkeypatch):
    if number == signal.SIGUSR1:  # one of Slurm's
        monkeypatch.setenv("SLURM_JOB_ID", "1")
    if not started:  # as if it had not got as far as ignoring them
        monkeypatch.setattr(worker_pool, "_start_worker", lambda main, worker: None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    mine = loader(listed_in(folder), workers=1, keep_workers=True)
    served = iter(mine)
    first = next(served)
    for worker in mine.pool.processes:
        os.kill(worker.pid, number)
    assert_same([first, *served], loader(listed_in(folder)))
    mine.close()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


@pytest.mark.parametrize("keep_workers", [True, False])
def test_closing_ends_a_worker_that_does_not_come_to_its_end(folder, keep_workers, monkeypatch):
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)
    monkeypatch.setattr(FileLoader, "chunk", 4)

    def first_alone(folder, names, *rest, calls=[]):  # noqa: B006  # of the worker
        calls.append(1)
        time.sleep(0 if len(calls) == 1 else 60)
        return decode(folder, names, *rest)

    monkeypatch.setattr(decoding_worker, "decode", first_alone)
    mine = loader(listed_in(folder), workers=1, keep_workers=keep_workers)
    served = iter(mine)
    next(served)
    (worker,) = mine.pool.processes
    mine.close()
    assert not worker.is_alive()
    assert worker.exitcode < 0  # it did not come to its end


def test_a_worker_that_dies_is_told_in_one_line(folder, monkeypatch):
    def die(*arguments):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(decoding_worker, "decode", die)
    with pytest.raises(ResourceError, match=r"^made/train: a process that decodes images died \(.*\); fewer") as error:
        list(loader(listed_in(folder), workers=1))
    assert "\n" not in str(error.value)


def test_images_that_cannot_be_handed_over_are_told_in_one_line(folder, monkeypatch, capfd):
    def full(self):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>:\nNo space left on device (28)")

    monkeypatch.setattr(Tensor, "share_memory_", full)
    with pytest.raises(ResourceError) as error:
        list(loader(listed_in(folder), workers=2))
    assert str(error.value).startswith(
        "made/train: a process that decodes images cannot hand them over (unable to allocate shared memory(shm) for "
        "file </torch_1>: No space left on device (28)): "
    )
    assert "/dev/shm has " in str(error.value)
    assert "fewer dataset.workers" in str(error.value)
    assert "now 2)" in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


@pytest.fixture
def stuck(monkeypatch):
    """The first picture never comes (in the time of this test); looks at the clock follow each other quickly."""
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)
    monkeypatch.setattr(file_loader, "LOOK", 0.05)
    monkeypatch.setattr(file_loader, "GRACE", 0.2)
    monkeypatch.setattr(decoding_worker, "decode", lambda *arguments: time.sleep(600))


@pytest.mark.parametrize("world_size", [1, 2])
def test_pictures_that_never_come_are_an_error(folder, stuck, world_size):
    with pytest.raises(ResourceError) as error:
        list(loader(listed_in(folder), workers=1, timeout=0.5, world_size=world_size))
    assert str(error.value).startswith(
        "made/train: no picture came from the 1 processes that decode within 0.5 s (dataset.timeout); fewer "
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_pictures_that_come_in_time_are_none(folder, monkeypatch, workers):
    """However often they are looked for; in this process nothing is waited for."""

    def slow(*arguments):
        time.sleep(0.3)
        return decode(*arguments)

    monkeypatch.setattr(file_loader, "LOOK", 0.05)
    monkeypatch.setattr(decoding_worker, "decode", slow)
    timeout = None if workers else 1e-6
    assert_same(loader(listed_in(folder), 21, workers, timeout=timeout), loader(listed_in(folder), 21))


def test_a_stop_signal_ends_the_wait(folder, stuck):
    with pytest.raises(Interrupted) as stopped:
        list(loader(listed_in(folder), workers=1, stop=lambda: signal.SIGTERM))
    assert (stopped.value.signal, stopped.value.waiting) == (signal.SIGTERM, True)


def test_pictures_that_come_soon_after_a_stop_signal_are_waited_for(folder, monkeypatch):
    monkeypatch.setattr(file_loader, "LOOK", 0.05)
    monkeypatch.setattr(decoding_worker, "decode", lambda *arguments: time.sleep(0.3) or decode(*arguments))
    mine = loader(listed_in(folder), 21, 1, stop=lambda: signal.SIGTERM)
    assert_same(mine, loader(listed_in(folder), 21))


def test_workers_that_are_stuck_are_ended_at_once(folder, stuck):
    """However long PyTorch would wait for the end of each."""
    torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 600  # the fixture puts it back
    mine = loader(listed_in(folder), workers=2, timeout=0.2, keep_workers=True)
    served = iter(mine)
    with pytest.raises(ResourceError):
        next(served)
    workers = mine.pool.processes
    mine.close()
    assert [worker.exitcode for worker in workers] == [-signal.SIGKILL] * 2


def test_a_kept_worker_that_is_slow_to_begin_the_next_pass_is_waited_for(folder, monkeypatch):
    monkeypatch.setattr(file_loader, "LOOK", 0.1)
    files = listed_in(folder)
    mine = loader(files, workers=2, keep_workers=True)
    list(mine)
    worker = mine.pool.processes[1]
    os.kill(worker.pid, signal.SIGSTOP)
    resume = threading.Timer(0.8, os.kill, (worker.pid, signal.SIGCONT))
    resume.start()
    mine.set_epoch(1)
    assert_same(mine, loader_at(files, 1))
    resume.join()
    mine.close()


def test_among_several_ranks_a_stop_signal_ends_the_wait_and_nothing_can_be_saved(folder, stuck, capfd):
    with pytest.raises(Interrupted) as stopped:
        list(loader(listed_in(folder), workers=1, stop=lambda: signal.SIGTERM, rank=1, world_size=2))
    assert (stopped.value.signal, stopped.value.waiting) == (signal.SIGTERM, False)
    assert capfd.readouterr().err == (
        "SIGTERM: made/train: rank 1 waits for pictures that do not come, the others for it: this step cannot be "
        "finished and saved; steps since the last checkpoint are lost\n"
    )


def test_no_worker_stays_behind_a_process_that_is_killed(folder, monkeypatch):
    """In the middle of a picture, however long that takes."""
    monkeypatch.setattr(FileLoader, "chunk", 1)
    decoded = iter([decode] * 2 + [lambda *arguments: time.sleep(600)] * 20)
    monkeypatch.setattr(decoding_worker, "decode", lambda *arguments: next(decoded)(*arguments))
    here, there = multiprocessing.Pipe()

    def epoch() -> None:
        mine = loader(listed_in(folder), workers=2, keep_workers=True)
        served = iter(mine)
        next(served)
        there.send([worker.pid for worker in mine.pool.processes])
        time.sleep(600)

    main = multiprocessing.get_context("fork").Process(target=epoch)
    main.start()
    there.close()
    workers = here.recv()
    assert [state_of(worker) for worker in workers] == ["alive"] * 2
    main.kill()
    main.join()
    try:
        wait_until(lambda: all(state_of(worker) == "gone" for worker in workers))
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


# -- images that cannot be read ---------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path):
    """21 files, of which those with the indices 2, 3, 9 and 20 cannot be read."""
    folder = write_part(tmp_path / "train", each=7)
    files = sorted(folder.rglob("*.JPEG"))
    return listed_in(folder), [damage(files[index]) for index in (2, 3, 9, 20)]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_what_cannot_be_read_is_left_out_of_its_batch(damaged, workers, world_size, capfd):
    files, _ = damaged
    seen = []
    for rank in range(world_size):
        for batch in loader(files, 4, workers if rank == 0 else 0, rank=rank, world_size=world_size):
            assert len(batch.images) == len(batch.labels) == len(batch.indices) == max(batch.count, 1)
            assert batch.scale == batch.count * world_size / batch.global_count
            assert batch.count > 0 or batch.scale == 0
            seen += batch.indices[: batch.count].tolist()
    assert sorted(seen) == [index for index in range(21) if index not in (2, 3, 9, 20)]
    assert sum(batch.global_count for batch in loader(files, 4)) == 21  # as planned


def test_the_images_that_are_left_are_the_same(damaged, folder):
    whole = {int(i): x for batch in loader(listed_in(folder)) for i, x in zip(batch.indices, batch.images, strict=True)}
    for batch in loader(damaged[0]):
        assert all(torch.equal(whole[int(i)], x) for i, x in zip(batch.indices, batch.images, strict=True))


def test_a_share_without_any_is_one_black_image_that_counts_nothing(damaged):
    files, _ = damaged
    batch = next(iter(loader(files.subset([19, 20, 0]), 2, shuffle_seed=None, rank=1, world_size=2)))
    assert batch.indices.tolist() == [2]  # of the damaged file
    assert (batch.count, batch.global_count, batch.scale) == (0, 2, 0)
    assert batch.images.shape == (1, 3, 16, 16)
    assert not batch.images.any()


def test_a_line_names_the_first_and_counts_all(damaged, capfd):
    files, names = damaged
    batches = loader(files, shuffle_seed=None)
    served = iter(batches)
    for _ in range(len(batches) - 1):
        next(served)
    assert capfd.readouterr().err == ""
    next(served)  # the consumer that counts its batches asks for no more
    line = capfd.readouterr().err
    assert line.startswith("warning: made/train: 4 of 21 images cannot be read and are left out: ")
    assert line.count("\n") == 1
    assert line.count("truncated") == 3
    assert sum(name in line for name in names) == 3
    assert line.endswith("; and 1 more\n")


def test_another_ranks_image_is_told_by_that_rank_alone(damaged, capfd):
    files, names = damaged
    for rank in range(2):
        list(loader(files.subset([20]), 4, rank=rank, world_size=2))  # a batch of one image
    lines = capfd.readouterr().err.splitlines()
    assert lines == [line for line in lines if "1 of 1 images of rank 1 " in line and names[0] in line]
    assert len(lines) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_that_can_be_read_is_an_error(damaged, workers):
    files, names = damaged
    some = files.subset([18, 17, 20])
    with pytest.raises(BadInput, match=rf"^made/train: none of the 2 images can be read: .*{names[3]}"):
        list(loader(some.subset([1, 2]), workers=workers))
    assert sum(batch.count for batch in loader(some, 1)) == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_strictly_one_is_an_error(damaged, workers):
    files, names = damaged
    with pytest.raises(BadInput, match=rf"{names[2]}: cannot be read"):
        list(loader(files.subset([5, 6, 7]), workers=workers, strict=True))


def test_strictly_one_of_several_ranks_marks_its_batch(damaged, capfd):
    files, names = damaged
    some = files.subset([5, 6, 7, 8])  # the second is damaged
    faults = []
    for rank in range(2):
        batches = list(loader(some, 2, shuffle_seed=None, strict=True, rank=rank, world_size=2))
        assert [len(batch.images) for batch in batches] == [1, 1]
        faults.append([batch.fault for batch in batches])
    assert faults[0] == [None, None]
    assert faults[1][0].startswith(f"{files.folder / names[2]}: cannot be read (")
    assert faults[1][1] is None
    assert capfd.readouterr().err == ""
    assert all(batch.fault is None for batch in loader(files, rank=0, world_size=2))


def test_a_warning_is_one_write(damaged, monkeypatch):
    written = []
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=written.append, flush=lambda: None))
    list(loader(damaged[0]))
    (line,) = written
    assert line.startswith("warning: ")
    assert line.endswith("\n")


@pytest.mark.gpu
def test_batches_on_a_gpu_are_those_on_the_host(folder):
    files = listed_in(folder)
    near = list(loader(files, workers=2, device=torch.device("cuda", 0)))
    assert all(batch.images.device.type == "cuda" for batch in near)
    assert_same([type(b)(*(t.cpu() for t in b[:3]), *b[3:]) for b in near], loader(files))
