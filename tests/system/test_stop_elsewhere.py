"""A stop signal to a rank that waits for another one, which waits for something else: that one hears of it."""

import signal

import pytest

from p2be_exp.system import watch as module
from p2be_exp.system.peers import Peers
from p2be_exp.system.watch import Watch


@pytest.fixture
def ranks(tmp_path):
    """The views of three ranks, which have registered."""
    peers = [Peers(tmp_path / ".ranks", rank, 3, "a0", makes_folder=rank == 0) for rank in range(3)]
    for each in peers:
        each.register()
    return peers


def watch_of(peers: Peers | None, defers: bool = True) -> Watch:
    watch = Watch(lambda: defers)
    watch.accompany(peers)
    return watch


@pytest.mark.parametrize("handler_ran", [True, False])
def test_a_signal_that_is_put_off_is_told_to_the_others(ranks, monkeypatch, handler_ran):
    monkeypatch.setattr(module, "UNHEARD", 0.0)
    first, second, third = (watch_of(each) for each in ranks)
    assert [each.stop_elsewhere() for each in (first, second, third)] == [None] * 3
    if handler_ran:
        second.heard()
    second._arrive(signal.SIGINT)
    second._answer()
    assert [each.stop_elsewhere() for each in (first, second, third)] == [signal.SIGINT, None, signal.SIGINT]
    assert all(each.ended() is None for each in ranks)  # nobody has to end for it


def test_not_before_the_step_had_time_to_end(ranks, monkeypatch):
    monkeypatch.setattr(module, "UNHEARD", 600.0)
    first, second = watch_of(ranks[0]), watch_of(ranks[1])
    second._arrive(signal.SIGTERM)
    second._answer()
    assert first.stop_elsewhere() is None


def test_one_process_asks_nobody():
    assert watch_of(None).stop_elsewhere() is None


def test_nothing_of_it_is_left(ranks):
    ranks[1].ask_to_stop(signal.SIGTERM)
    ranks[0].remove()
    assert not ranks[0].folder.exists()
