"""The adapter to PyTorch's DataLoader: answers in order, by processes that are kept, waited for, and ended."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from torch.utils.data import Dataset

from p2be_exp.data.worker_pool import NotYetError, WorkerDiedError, WorkerPool

SOURCE = Path(__file__).parents[2] / "src"
LONG = 60.0  # seconds; no test waits for it


class Answers(Dataset):
    """Answers a number by its square; others by what their name says."""

    def __getitem__(self, request: int | str) -> int:
        if request == "slow":
            time.sleep(LONG)
        if request == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if request == "fault":
            raise RuntimeError("a fault of its own")
        return int(request) ** 2


def answers(pool: WorkerPool, requests: list[int]) -> list[int]:
    pool.start(iter(requests), wait=LONG)
    found = list(iter(pool.next, None))
    pool.pause()
    return found


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_answers_are_in_the_order_of_the_requests(workers):
    pool = WorkerPool(Answers(), workers, keep=True)
    assert pool.processes == []
    for n in (7, 1, 5):  # pass after pass
        assert answers(pool, list(range(n))) == [number**2 for number in range(n)]
        assert len(pool.processes) == workers
    pool.close()
    assert pool.processes == []
    assert answers(pool, [3]) == [9]  # by new ones
    pool.close()


def test_processes_are_kept_between_passes():
    pool = WorkerPool(Answers(), 2, keep=True)
    answers(pool, [1])
    before = [process.pid for process in pool.processes]
    answers(pool, [2])
    assert [process.pid for process in pool.processes] == before
    pool.close()


def test_an_answer_that_does_not_come_can_be_asked_for_again():
    pool = WorkerPool(Answers(), 1, keep=False)
    pool.start(iter(["slow"]), wait=0.05)
    for _ in range(3):
        with pytest.raises(NotYetError):
            pool.next()
    (worker,) = pool.processes
    pool.close(kill=True)
    assert worker.exitcode == -signal.SIGKILL


def test_a_worker_that_died_is_told_from_a_fault_of_the_answers():
    pool = WorkerPool(Answers(), 1, keep=False)
    pool.start(iter(["die"]), wait=LONG)
    with pytest.raises(WorkerDiedError, match=r"^DataLoader worker "):
        pool.next()
    pool.close()
    pool.start(iter(["fault"]), wait=LONG)
    with pytest.raises(RuntimeError, match="a fault of its own"):
        pool.next()
    pool.close()


def test_no_other_module_uses_private_members_of_the_data_loader():
    private = ("_workers", "_worker_pids_set", "_shutdown_workers", "data._utils", "._iterator", "._timeout")
    users = {
        file.name
        for file in (SOURCE / "p2be_exp").rglob("*.py")
        if "torch.utils.data" in (text := file.read_text(encoding="utf-8")) and any(each in text for each in private)
    }
    assert users == {"worker_pool.py"}
