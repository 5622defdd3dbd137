"""Children that end with their parent."""

import multiprocessing
import os
import time

from commandline import wait_until
from p2be_exp.system.parent import end_with_parent
from p2be_exp.system.process_table import state_of

FORK = multiprocessing.get_context("fork")


def test_a_child_whose_parent_is_gone_before_it_says_so_ends():
    child = FORK.Process(target=end_with_parent, args=(os.getppid(),))
    child.start()
    child.join()
    assert child.exitcode == 1


def test_a_child_ends_when_its_parent_is_killed():
    here, there = FORK.Pipe()

    def grandchild(parent: int) -> None:
        end_with_parent(parent)
        there.send(os.getpid())
        time.sleep(600)

    def child() -> None:
        FORK.Process(target=grandchild, args=(os.getpid(),)).start()
        time.sleep(600)

    started = FORK.Process(target=child)
    started.start()
    pid = here.recv()
    assert state_of(pid) == "alive"
    started.kill()
    started.join()
    wait_until(lambda: state_of(pid) == "gone")
