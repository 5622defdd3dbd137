"""A thread that looks after a main thread: what it raises there, and how it ends a process that hears nothing."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from unittest import mock

import pytest

from commandline import HANGS, Outcome, wait_until
from p2be_exp.errors import Interrupted
from p2be_exp.system import watch as module
from p2be_exp.system.launch import Children
from p2be_exp.system.peers import Ending, PeerFailed, Peers, Registered
from p2be_exp.system.process_table import number_space, state_of
from p2be_exp.system.watch import Watch, reason_of

REASON = Ending(1, 2, "seed=x: a number")
STOP = Ending(1, 143, "stopped by signal 15", 15)


@pytest.fixture
def ranks(tmp_path):
    found = [Peers(tmp_path / "peers", rank, 2, "0", makes_folder=True) for rank in range(2)]
    for each in found:
        each.register()
    return found


# -- a main thread that hears ------------------------------------------------------------------------------------------


@pytest.fixture
def watch(monkeypatch):
    """A watch in this process, whose main thread raises what it is asked to."""
    monkeypatch.setattr(module, "LOOK", 0.01)
    for name in ("AFTER_SECOND", "AFTER_ENDING", "AFTER_ENDING_ELSEWHERE"):
        monkeypatch.setattr(module, name, HANGS)  # this process is not to be ended
    watch = Watch()

    def handler(number, frame):
        watch.heard()
        if (reason := watch.asked_to_end()) is not None:
            raise reason

    before = signal.signal(signal.SIGTERM, handler)
    with watch:
        yield watch
        watch.is_coming_out()
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("ending", "error"), [(REASON, PeerFailed), (STOP, Interrupted)])
def test_the_end_of_another_rank_is_raised_in_the_middle_of_a_sleep(watch, ranks, ending, error):
    watch.accompany(ranks[0])
    with pytest.raises(error) as raised:
        _leave_and_sleep(ranks[1], ending)
    assert watch.ending == ending
    if error is PeerFailed:
        assert str(raised.value) == "rank 1: seed=x: a number"


def _leave_and_sleep(peers, ending):
    peers.leave(ending)
    time.sleep(HANGS)


def test_it_is_raised_once(watch, ranks):
    watch.accompany(ranks[0])
    with pytest.raises(PeerFailed):
        _leave_and_sleep(ranks[1], REASON)
    looked = threading.Event()
    ranks[0].waited_for = lambda: looked.set() or []
    assert not looked.wait(0.1)  # it looks no more


def test_a_rank_that_has_told_its_reason_and_stays_is_ended(watch, ranks, monkeypatch):
    monkeypatch.setattr(module, "AFTER_ENDING", 0.0)
    ended = []
    monkeypatch.setattr(watch, "_end", ended.append)
    watch.accompany(ranks[0])
    mine = Ending(0, 1, "RuntimeError: boom")
    ranks[0].leave(mine)
    wait_until(lambda: ended)
    assert ended[0] == mine


def test_without_other_ranks_nobody_is_asked_to_end(watch, ranks):
    ranks[1].leave(REASON)
    assert watch.asked_to_end() is None
    watch.is_coming_out()
    assert watch.asked_to_end() is None


@pytest.mark.parametrize("rank", [0, 1])
def test_a_stopped_rank_is_said_once_by_rank_0(watch, ranks, capfd, rank):
    said, looks = ["rank x is stopped"], []
    ranks[rank].waited_for = lambda: looks.append(0) or list(said)
    watch.accompany(ranks[rank])
    wait_until(lambda: len(looks) > 3)
    assert watch.waited_for == ["rank x is stopped"]
    said.clear()
    wait_until(lambda: watch.waited_for == [])
    said.append("rank x is stopped")
    wait_until(lambda: watch.waited_for != [])
    assert capfd.readouterr().err == "rank x is stopped\n" * 2 * (rank == 0)


def test_a_child_whose_threads_are_still_dying_is_told_by_how_it_ended(ranks, monkeypatch):
    """It is a zombie by its first thread, but has no exit code until the last one has gone."""
    children = Children()
    children._by_rank[1] = mock.Mock(poll=lambda: None)
    monkeypatch.setattr(module, "children", children)
    monkeypatch.setattr(ranks[0], "lost", lambda: Ending(1, 1, "its process is gone without a word; was it killed?"))
    assert reason_of(ranks[0]) is None
    children._by_rank[1] = mock.Mock(poll=lambda: -9, returncode=-9)
    assert reason_of(ranks[0]) == Ending(1, 1, "ended by SIGKILL; is there enough memory?")
    children._by_rank.clear()
    assert reason_of(ranks[0]).line.startswith("its process is gone without a word")


def test_a_child_that_ends_between_two_looks_at_it_is_told_by_how_it_ended(ranks, monkeypatch):
    child = subprocess.Popen([sys.executable, "-S", "-E", "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setattr(
        ranks[0], "registered", lambda: [Registered(1, child.pid, socket.gethostname(), number_space())]
    )
    assert ranks[0].lost() is None  # it has been seen alive
    children = Children()
    children._by_rank[1] = child
    monkeypatch.setattr(module, "children", children)

    def kill_before_it_is_looked_for():
        child.kill()
        wait_until(lambda: state_of(child.pid) == "gone")
        return lost()

    lost = ranks[0].lost
    monkeypatch.setattr(ranks[0], "lost", kill_before_it_is_looked_for)
    assert reason_of(ranks[0]) == Ending(1, 1, "ended by SIGKILL; is there enough memory?")
    child.stdin.close()


def test_what_wakes_a_process_is_as_before_afterwards():
    inbox, outbox = os.pipe()
    os.set_blocking(outbox, False)
    before = signal.set_wakeup_fd(outbox)
    try:
        with Watch(), Watch():
            pass
        assert signal.set_wakeup_fd(before) == outbox
    finally:
        signal.set_wakeup_fd(before)
        os.close(inbox)
        os.close(outbox)


def test_a_forked_child_does_not_write_into_its_parents_watch(watch):
    if (pid := os.fork()) == 0:
        os._exit(signal.set_wakeup_fd(-1) != -1)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_look_that_fails_is_not_the_last(watch, ranks):
    looks = []

    def fail_once():
        looks.append(0)
        if len(looks) == 1:
            raise OSError("a file server that is gone")
        return []

    ranks[0].waited_for = fail_once
    watch.accompany(ranks[0])
    wait_until(lambda: len(looks) > 1)


# -- one that does not -------------------------------------------------------------------------------------------------


DEAF = """
import os, signal, subprocess, sys, time
from pathlib import Path
from p2be_exp.system import watch as module
from p2be_exp.system.launch import children
from p2be_exp.system.peers import Peers

module.LOOK, module.UNHEARD, module.AFTER_SECOND = 0.01, 0.05, 0.05
module.AFTER_ENDING = module.AFTER_ENDING_ELSEWHERE = 0.05
rank, defers, with_parent = int(sys.argv[1]), sys.argv[2] == "defers", sys.argv[3] == "parent"
watch = module.Watch(lambda: defers)
module.LAST_WORDS = 0.05 if sys.argv[2] == "hangs" else 60.0


def last_words(ending):
    print(ending.exit_code, ending.signal, ending.line, flush=True)
    if sys.argv[2] == "hangs":
        time.sleep(600)  # a lock that the main thread has, or a dead disk


watch.last_words = last_words
for number in module.stop_signals():
    signal.signal(number, lambda number, frame: None)
with watch:
    signal.pthread_sigmask(signal.SIG_BLOCK, module.stop_signals())  # now the main thread hears nothing
    child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children._by_rank[1] = child
    peers = Peers(Path("peers"), rank, 2, "0", makes_folder=True) if rank >= 0 else None
    watch.accompany(peers, parent=os.getppid() if with_parent else None)
    print(os.getpid(), child.pid, flush=True)
    time.sleep(600)
"""


ANSWER = ": received during a wait (once more: stop at once)\n"


class Deaf:
    """A process whose main thread hears no signal, which has a child."""

    def __init__(self, folder, rank: int = -1, defers: str = "", parent: str = "", within=()) -> None:
        script = folder / "deaf.py"
        script.write_text(DEAF)
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("w") as out, self._err.open("w") as err:
            command = [*within, sys.executable, str(script), str(rank), defers, parent]
            self.process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err)
        wait_until(lambda: self._out.read_text().endswith("\n"), self.process)
        self.pid, self.child = map(int, self._out.read_text().split())

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def until_said(self) -> None:
        """Wait for the answer to a first signal."""
        wait_until(lambda: self._err.read_text().endswith(ANSWER), self.process)

    def end(self) -> Outcome:
        """Wait until it and its child have ended; what it printed after the first line and the first answer."""
        self.process.wait(HANGS)
        wait_until(lambda: state_of(self.pid) == state_of(self.child) == "gone")
        out, err = self._out.read_text().partition("\n")[2], self._err.read_text().rpartition(ANSWER)[2]
        return Outcome(self.process.returncode, out, err)


@pytest.fixture
def deaf(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(*arguments, **more) -> Deaf:
            started = Deaf(tmp_path, *arguments, **more)
            stack.callback(_kill, started)
            return started

        yield start


def _kill(started: Deaf) -> None:
    for pid in (started.pid, started.child):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    started.process.wait()


@pytest.mark.parametrize(("first", "second"), [(signal.SIGINT, signal.SIGINT), (signal.SIGINT, signal.SIGTERM)])
def test_the_second_signal_ends_the_process_and_its_children(deaf, first, second):
    process = deaf()
    process.send(first)
    process.until_said()
    process.send(second)
    code = 128 + second
    assert process.end() == Outcome(code, f"{code} {int(second)} stopped by signal {int(second)}\n", "")


def test_last_words_that_never_come_do_not_keep_it(deaf):
    process = deaf(defers="hangs")
    process.send(signal.SIGTERM)
    process.until_said()
    process.send(signal.SIGTERM)
    process.process.wait(HANGS)
    assert process.process.returncode == 143


def test_a_hangup_is_no_second_signal(deaf):
    process = deaf()
    process.send(signal.SIGTERM)
    process.until_said()
    process.send(signal.SIGHUP)
    process.send(signal.SIGINT)
    assert process.end().code == 130  # not 129


def test_one_signal_in_a_wait_for_another_rank_is_told_to_it_and_ends_this_one(deaf, ranks):
    process = deaf(1)
    process.send(signal.SIGTERM)
    assert process.end() == Outcome(143, "143 15 stopped by signal 15\n", "")
    assert ranks[0].ended() == STOP


def test_one_that_is_to_finish_its_step_first_waits_for_the_second(deaf, ranks):
    process = deaf(1, "defers")
    process.send(signal.SIGTERM)
    process.until_said()
    assert ranks[0].ended() is None
    process.send(signal.SIGTERM)
    assert process.end().code == 143


def test_the_end_of_another_rank_ends_it_with_that_ranks_reason(deaf, ranks):
    process = deaf(0)
    ranks[1].leave(REASON)
    assert process.end() == Outcome(2, "2 None seed=x: a number\n", "error: rank 1: seed=x: a number\n")


def test_the_end_of_rank_0_ends_the_others_in_silence(deaf, ranks):
    process = deaf(1)
    ranks[0].leave(Ending(0, 1, "RuntimeError: boom"))
    outcome = process.end()
    assert (outcome.code, outcome.err) == (1, "")


def test_it_ends_with_its_parent(deaf):
    process = deaf(parent="parent", within=["sh", "-c", '"$@" & wait', "sh"])
    assert process.process.pid != process.pid
    process.process.kill()
    assert process.end().out.startswith("1 None ")
