"""Ranks in a folder: who is here, how each ended, and nothing that raises."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from commandline import wait_until
from p2be_exp.errors import BadInput, Interrupted, ResourceError
from p2be_exp.system import peers as module
from p2be_exp.system.peers import Ending, PeerFailed, Peers

START = "a0"


@pytest.fixture
def ranks(tmp_path):
    """The views of three ranks; the first makes the folder."""
    return [Peers(tmp_path / ".ranks", rank, 3, START, makes_folder=rank == 0) for rank in range(3)]


@pytest.fixture
def sleeper():
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def register_as(
    peers: Peers, monkeypatch, pid: int | None = None, host: str | None = None, space: str | None = None
) -> None:
    with monkeypatch.context() as patched:
        if space is not None:
            patched.setattr(module, "number_space", lambda: space)
        if pid is not None:
            patched.setattr(os, "getpid", lambda: pid)
        if host is not None:
            patched.setattr(socket, "gethostname", lambda: host)
        peers.register()


# -- endings -----------------------------------------------------------------------------------------------------------


FULL = OSError(errno.ENOSPC, "No space left on device", "/nowhere/file")


@pytest.mark.parametrize(
    ("error", "code", "line", "number"),
    [
        (BadInput("seed=x: a number"), 2, "seed=x: a number", None),
        (ResourceError("no memory"), 1, "no memory", None),
        (RuntimeError("boom"), 1, "RuntimeError: boom", None),
        (RuntimeError("two\nlines"), 1, r"RuntimeError: two\nlines", None),
        (Interrupted(signal.SIGTERM), 143, "stopped by signal 15", signal.SIGTERM),
        (KeyboardInterrupt(), 130, "stopped by signal 2", signal.SIGINT),
    ],
)
def test_how_a_rank_ends_with_an_error(error, code, line, number):
    assert Ending.of(1, error) == Ending(1, code, line, number)


def test_a_full_disk_names_the_file():
    ending = Ending.of(0, FULL)
    assert ending.exit_code == 1
    assert ending.line.startswith("/nowhere/file: cannot be written")


def test_what_another_rank_raises_about_it():
    failed = Ending(1, 2, "seed=x: a number").error()
    assert isinstance(failed, PeerFailed)
    assert (str(failed), failed.ending.exit_code) == ("rank 1: seed=x: a number", 2)
    stopped = Ending(1, 143, "stopped by signal 15", 15).error()
    assert isinstance(stopped, Interrupted)
    assert stopped.signal == 15


def test_the_others_read_how_a_rank_ended_and_it_does_not_itself(ranks):
    ranks[0].register()
    ending = Ending(1, 143, "stopped by signal 15", 15)
    assert ranks[1].left is None
    assert ranks[1].leave(ending)
    assert ranks[1].left is not None
    assert ranks[0].ended() == ranks[2].ended() == ending
    assert ranks[1].ended() is None


def test_the_first_thing_that_a_rank_says_stays(ranks):
    ranks[0].register()
    ranks[1].leave(Ending(1, 2, "the reason"))
    assert ranks[1].leave(Ending(1, 1, "what followed from it"))
    assert ranks[0].ended().line == "the reason"


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_several_that_ended_the_first_one_is_the_reason(ranks, monkeypatch, order):
    ranks[0].register()
    for when, rank in enumerate(order):
        monkeypatch.setattr(module.time, "time", lambda when=when: 1000.0 + when)
        ranks[rank].leave(Ending(rank, 1, f"rank {rank}"))
    assert ranks[0].ended().rank == order[0]


def test_a_reason_that_is_half_written_is_none_yet(ranks):
    ranks[0].register()
    ranks[1].leave(Ending(1, 2, "the reason"))
    (file,) = ranks[0].folder.glob("*-1.end")
    text = file.read_text()
    for damaged in ("", text[:-4], "[]", json.dumps({"rank": 1})):
        file.write_text(damaged)
        assert ranks[0].ended() is None
    file.write_text(text)
    assert ranks[0].ended().line == "the reason"


# -- who is here -------------------------------------------------------------------------------------------------------


def test_who_is_here(ranks):
    assert ranks[0].registered() == []
    for each in ranks[:2]:
        assert each.register()
    (other,) = ranks[0].registered()
    assert (other.rank, other.pid, other.is_here) == (1, os.getpid(), True)
    assert [peer.rank for peer in ranks[2].registered()] == [0, 1]


def test_a_rank_that_comes_before_the_folder_registers_later(ranks):
    assert not ranks[1].register()
    assert not ranks[1].leave(Ending(1, 1, "x"))
    assert ranks[1].left is None
    ranks[0].register()
    assert ranks[0].registered() == []
    assert ranks[1].register()
    assert len(ranks[0].registered()) == 1


def test_a_process_that_is_gone_without_a_word_is_lost(ranks, monkeypatch, sleeper):
    ranks[0].register()
    register_as(ranks[1], monkeypatch, pid=sleeper.pid)
    assert ranks[0].lost() is None
    assert ranks[0].are_working()
    sleeper.kill()
    wait_until(lambda: ranks[0].lost() is not None)
    lost = ranks[0].lost()
    assert (lost.rank, lost.exit_code, lost.signal) == (1, 1, None)
    assert "gone" in lost.line
    assert not ranks[0].are_working()


def test_what_it_said_before_is_the_reason(ranks, monkeypatch, sleeper):
    ranks[0].register()
    register_as(ranks[1], monkeypatch, pid=sleeper.pid)
    assert ranks[0].lost() is None
    ranks[1].leave(Ending(1, 2, "the reason"))
    sleeper.kill()
    wait_until(lambda: ranks[0].lost() is not None)
    assert ranks[0].lost() == Ending(1, 2, "the reason")


def test_one_that_has_done_its_part_is_not_lost(ranks, monkeypatch, sleeper):
    ranks[0].register()
    register_as(ranks[1], monkeypatch, pid=sleeper.pid)
    assert ranks[0].lost() is None
    sleeper.kill()
    wait_until(lambda: ranks[0].lost() is not None)
    assert not ranks[0].is_done(1)
    ranks[1].finish()
    assert ranks[0].is_done(1)
    assert ranks[0].lost() is None


@pytest.mark.parametrize("where", [{"host": "elsewhere"}, {"space": "a container, or a machine of the same name"}])
def test_a_process_of_another_machine_is_not_looked_for_here(ranks, monkeypatch, where):
    ranks[0].register()
    register_as(ranks[1], monkeypatch, pid=2**22 + 1, **where)
    assert ranks[0].lost() is None
    assert ranks[0].are_working()
    ranks[1].finish()
    assert not ranks[0].are_working()


def test_a_stopped_process_is_waited_for(ranks, monkeypatch, sleeper):
    ranks[0].register()
    register_as(ranks[1], monkeypatch, pid=sleeper.pid)
    assert ranks[0].waited_for() == []
    sleeper.send_signal(signal.SIGSTOP)
    said = [f"rank 1 (process {sleeper.pid}) is stopped; waiting for it"]
    wait_until(lambda: ranks[0].waited_for() == said, sleeper)
    sleeper.send_signal(signal.SIGCONT)
    wait_until(lambda: ranks[0].waited_for() == [], sleeper)
    assert sleeper.poll() is None


def test_a_silent_rank_of_another_machine_is_waited_for(ranks, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    ranks[0].register()
    register_as(ranks[1], monkeypatch, pid=7, host="elsewhere")
    assert ranks[0].waited_for() == []
    clock[0] = module.SILENT - 1
    assert ranks[0].waited_for() == []
    clock[0] = module.SILENT + 1
    assert ranks[0].waited_for() == [
        "rank 1 (process 7 on elsewhere) has given no sign of life for a minute; waiting for it"
    ]
    (file,) = ranks[0].folder.glob("*-1.here")
    os.utime(file, (1e9, 1e9))  # its clock is far behind ours
    assert ranks[0].waited_for() == []
    clock[0] *= 3
    assert len(ranks[0].waited_for()) == 1
    ranks[1].finish()
    assert ranks[0].waited_for() == []


def test_rank_0_announces_that_the_port_is_its_own(ranks):
    ranks[0].register()
    assert not ranks[1].is_open(0)
    ranks[0].announce()
    assert ranks[1].is_open(0)


# -- the folder --------------------------------------------------------------------------------------------------------


def test_the_folder_is_removed_unless_something_else_is_in_it(ranks):
    for each in ranks:
        each.register()
    ranks[1].leave(Ending(1, 1, "x"))
    ranks[2].finish()
    foreign = ranks[0].folder / "foreign"
    foreign.touch()
    ranks[0].remove()
    assert list(ranks[0].folder.iterdir()) == [foreign]
    foreign.unlink()
    ranks[0].remove()
    assert not ranks[0].folder.exists()
    ranks[0].remove()


def test_what_earlier_starts_left_behind_is_no_rank_of_this_one(ranks):
    folder = ranks[0].folder
    earlier = [Peers(folder, rank, 3, "b1", makes_folder=True) for rank in range(3)]
    for each in earlier:
        each.register()
        each.leave(Ending(each.rank, 1, "long ago"))
    foreign = folder / "b1-0.here.txt"
    foreign.touch()
    ranks[0].register()
    ranks[1].register()
    assert ranks[0].ended() is None
    assert [peer.rank for peer in ranks[0].registered()] == [1]
    assert {file.name for file in folder.iterdir()} == {f"{START}-0.here", f"{START}-1.here", foreign.name}


def test_a_rank_that_failed_just_before_rank_0_came_is_seen_and_one_of_long_ago_is_not(ranks):
    folder = ranks[0].folder
    folder.mkdir()
    ranks[1].leave(Ending(1, 2, "just now"))
    ranks[2].leave(Ending(2, 1, "by a start of the same name"))
    (old,) = folder.glob("*-2.end")
    os.utime(old, (1e9, 1e9))
    ranks[0].register()
    assert ranks[0].ended() == Ending(1, 2, "just now")
    assert not old.exists()


def test_a_start_right_after_another_of_the_same_name_was_killed_is_a_fresh_one(ranks, monkeypatch, sleeper):
    sleeper.kill()
    sleeper.wait()
    for each in ranks[:2]:
        register_as(each, monkeypatch, pid=sleeper.pid)
    ranks[1].leave(Ending(1, 1, "before"))
    ranks[1].ask_to_stop(15)
    ranks[1].finish()
    again = [Peers(ranks[0].folder, rank, 2, START, makes_folder=rank == 0) for rank in range(2)]
    assert again[1].lost() is None  # rank 0 has not come yet
    again[0].register()
    again[1].register()
    for each in again:
        assert [peer.pid for peer in each.registered()] == [os.getpid()]
        assert (each.ended(), each.lost(), each.asked_to_stop()) == (None, None, None)
    assert not again[0].is_done(1)


@pytest.mark.parametrize("name", ["file/.ranks", 300 * "x"])
def test_nothing_raises_where_there_can_be_no_folder(tmp_path, name):
    (tmp_path / "file").touch()
    peers = Peers(tmp_path / name, 0, 2, START, makes_folder=True)
    assert not peers.register()
    assert not peers.leave(Ending(0, 1, "x"))
    peers.finish()
    peers.announce()
    peers.remove()
    assert peers.ended() is None
    assert peers.lost() is None
    assert not peers.is_open(1)
    assert not peers.is_done(1)
    assert (peers.registered(), peers.waited_for()) == ([], [])
    assert not peers.are_working()
