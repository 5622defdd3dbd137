"""Ranks meet at a port; a wait for one that does not come is said and ends."""

import socket
import threading

import pytest

from commandline import HANGS
from p2be_exp.errors import ResourceError
from p2be_exp.system import rendezvous
from p2be_exp.system.peers import Peers
from p2be_exp.system.rendezvous import meet, open_store
from processes import free_port, taken_port

HERE = "127.0.0.1"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)


def in_thread(function):
    """Call a function in a thread; what gives its result."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()), daemon=True)
    thread.start()

    def result():
        thread.join(HANGS)
        return found[0]

    return result


def test_two_ranks_meet_at_a_port_and_have_one_store():
    port = free_port()
    second = in_thread(lambda: meet(1, 2, HERE, port, 60))
    first = meet(0, 2, HERE, port, 60)
    first.set("key", b"value")
    assert second().get("key") == b"value"


def test_two_ranks_meet_at_a_store_that_the_first_has_opened_already():
    kept = open_store()
    second = in_thread(lambda: meet(1, 2, HERE, kept.port, 60))
    meet(0, 2, HERE, 1, 60, keeps=kept).set("key", b"value")
    assert second().get("key") == b"value"


def test_a_rank_of_another_start_that_uses_the_store_is_none_of_this_one():
    kept = open_store()
    with pytest.raises(ResourceError, match="rank 1 did not join"):
        _one_of_each_start(kept)
    second = in_thread(lambda: meet(1, 2, HERE, kept.port, 60, start="b"))
    meet(0, 2, HERE, kept.port, 60, keeps=kept, start="b")
    second()


def _one_of_each_start(kept):
    def of_another_start():
        with pytest.raises(ResourceError):
            meet(1, 2, HERE, kept.port, 0.3, start="a")
        return True

    other = in_thread(of_another_start)
    try:
        meet(0, 2, HERE, kept.port, 0.3, keeps=kept, start="b")
    finally:
        assert other()


def test_those_that_do_not_come_are_named_after_the_time(capfd):
    with pytest.raises(ResourceError) as raised:
        meet(0, 3, HERE, free_port(), 0.1)
    assert str(raised.value) == "trainer.timeout=0.1: rank 1, rank 2 did not join"
    assert capfd.readouterr().err == ""


def test_a_wait_for_rank_0_names_where_it_should_be():
    port = free_port()
    with pytest.raises(ResourceError) as raised:
        meet(1, 2, HERE, port, 0.1)
    assert str(raised.value) == f"trainer.timeout=0.1: rank 0 did not join ({HERE}:{port} does not answer)"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_long_wait_says_once_what_it_waits_for(monkeypatch, capfd, rank):
    monkeypatch.setattr(rendezvous, "SAID_AFTER", 0.0)
    port = free_port()
    with pytest.raises(ResourceError):
        meet(rank, 2, HERE, port, 0.3)
    what = "waiting for rank 1" if rank == 0 else f"rank 1: waiting for rank 0 at {HERE}:{port}"
    assert capfd.readouterr().err == f"{what} (for at most 0.3 s, trainer.timeout)\n"


def test_a_taken_port_is_one_line():
    with taken_port() as port, pytest.raises(ResourceError) as raised:
        meet(0, 2, HERE, port, 60)
    said = str(raised.value)
    assert said == f"MASTER_PORT={port}: the port is taken by another program on {socket.gethostname()}; set another"


def test_a_program_of_another_kind_at_the_port_is_not_taken_for_rank_0(tmp_path):
    peers = [Peers(tmp_path / "peers", rank, 2, "0", makes_folder=True) for rank in range(2)]
    for each in peers:
        each.register()
    with taken_port() as port, pytest.raises(ResourceError) as raised:
        meet(1, 2, HERE, port, 0.1, peers=peers[1])
    assert str(raised.value).startswith("trainer.timeout=0.1: rank 0 did not join")
    port = free_port()
    second = in_thread(lambda: meet(1, 2, HERE, port, 60, peers=peers[1]))
    first = meet(0, 2, HERE, port, 60, peers=peers[0])  # which keeps the store, for as long as it is here
    first.set("key", b"value")
    assert second().get("key") == b"value"
