"""Signals that stop a job of one process at once."""

import os
import signal

import pytest

from p2be_exp.errors import Interrupted
from p2be_exp.system.signals import raising, stop_signals

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def handlers():
    return {number: signal.getsignal(number) for number in ALL}


@pytest.mark.parametrize("number", ALL)
def test_a_stop_signal_raises_and_the_handlers_are_given_back(number):
    before = handlers()
    with pytest.raises(Interrupted) as stopped, raising():
        os.kill(os.getpid(), number)
    assert stopped.value.signal == number
    assert handlers() == before


def test_a_terminal_that_goes_says_so_twice():
    before = handlers()
    with raising():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        except Interrupted:
            os.kill(os.getpid(), signal.SIGHUP)  # no second one: what is being put away is put away
    assert handlers() == before


def test_an_ignored_hangup_stays_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raising():
            assert signal.SIGHUP not in stop_signals()
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
