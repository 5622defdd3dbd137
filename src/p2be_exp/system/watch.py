"""A watchdog thread for a job whose main thread may block inside a library and handle no signals.

Python runs signal handlers in the main thread, between two bytecode instructions. A main thread that blocks inside
PyTorch, waiting for ranks that do not answer, runs none, so no signal and no failure of another rank reaches it.
This thread receives signals through :func:`signal.set_wakeup_fd`, checks the other ranks twice a second, and ends the
process if the main thread does not return by itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from p2be_exp.errors import Interrupted
from p2be_exp.system.launch import children
from p2be_exp.system.peers import Ending, PeerFailed, Peers
from p2be_exp.system.signals import stop_signals

LOOK = 0.5
"""Seconds between two checks of the other ranks."""
BEAT = 15.0
"""Seconds between two signs of life to ranks of other machines."""
UNHEARD = 2.0
"""Seconds after which this thread answers a first signal that the main thread has not handled."""
AFTER_SECOND = 5.0
"""Seconds for the main thread to return after a second signal."""
AFTER_ENDING = 12.0
"""Seconds for the main thread of rank 0 to return, and to write its status, after another rank has ended."""
AFTER_ENDING_ELSEWHERE = 2.0
"""The same for another rank, which has nothing to write; rank 0 waits for it."""
LAST_WORDS = 5.0
"""Seconds for the last output of a process, which may block on a lock, a full pipe or dead storage."""


class Watch:
    """Watches the main thread of this process while it is entered, which the main thread must do.

    Args:
        defers: whether the main thread currently finishes its step before it stops.

    Attributes:
        ending: how another rank, or this process's parent, ended; None before. The SIGTERM handler, which is called as
            soon as it is known, must raise it.
        waited_for: the other ranks that cannot continue at the moment, one line each.
        last_words: called with the ending before this thread ends the process; it must be fast.
    """

    def __init__(self, defers: Callable[[], bool] = lambda: False) -> None:
        self._defers = defers
        self.ending: Ending | None = None
        self.waited_for: list[str] = []
        self.last_words: Callable[[Ending], None] = lambda ending: None
        self._peers: Peers | None = None
        self._parent: int | None = None
        self._heard = 0  # signals whose handler has run
        self._arrived: list[int] = []
        self._own = 0  # of these, sent from here
        self._deadline: tuple[float, Ending] | None = None
        self._unheard: float | None = None
        self._over = threading.Event()
        self._guard = threading.Lock()

    def __enter__(self) -> Watch:
        self._over.clear()
        self._inbox, self._outbox = os.pipe()
        os.set_blocking(self._inbox, False)
        os.set_blocking(self._outbox, False)
        self._main, self._process = threading.get_ident(), os.getpid()
        self._before = signal.set_wakeup_fd(self._outbox, warn_on_full_buffer=False)
        _ENTERED.append(self)
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            os.write(self._outbox, b"\0")
        self._thread.join()
        signal.set_wakeup_fd(self._before)
        _ENTERED.remove(self)
        os.close(self._inbox)
        os.close(self._outbox)

    # -- called by the main thread -----------------------------------------------------------------------------------

    def heard(self) -> None:
        """Record that a signal handler has run."""
        self._heard += 1

    def asked_to_end(self) -> BaseException | None:
        """The exception that the main thread must raise because another rank has ended; None if none has.

        Signal handlers call it: a launcher, too, sends a signal to the remaining ranks.
        """
        if self._peers is None:
            return None
        ending = self.ending or reason_of(self._peers)
        return None if ending is None else ending.error()

    def stop_elsewhere(self) -> int | None:
        """The stop signal of another rank that cannot stop, in a step that waits for this rank; None before."""
        peers = self._peers
        return None if peers is None else peers.asked_to_stop()

    def accompany(self, peers: Peers | None, parent: int | None = None) -> None:
        """Watch the other ranks of a job from now on, and the process that started this one; None: stop watching."""
        with self._guard:
            self._peers, self._parent = peers, parent

    def is_coming_out(self) -> None:
        """Record that the main thread has returned and needs no watching any more."""
        with self._guard:
            self._peers, self._parent, self._deadline = None, None, None

    # -- run in this thread ------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        beat, inbox = 0.0, select.poll()  # select.select accepts no descriptor above 1023
        inbox.register(self._inbox, select.POLLIN)
        while not self._over.is_set():
            ready = inbox.poll(1000 * LOOK)
            if os.getpid() != self._process:  # a forked child, which should not have this thread
                return
            for number in os.read(self._inbox, 4096) if ready else b"":
                self._arrive(number)
            with self._guard:
                with contextlib.suppress(Exception):  # the next check may succeed; signals must be answered anyway
                    self._look()
                if self._peers is not None and time.monotonic() >= beat:
                    beat = time.monotonic() + (BEAT if self._peers.register() else 0.0)
                self._answer()
                if self._deadline is not None and time.monotonic() >= self._deadline[0]:
                    self._end(self._deadline[1])

    def _arrive(self, number: int) -> None:
        """Record a signal."""
        if number == signal.SIGTERM and self._own:
            self._own -= 1
            return
        if number not in stop_signals() or (self._arrived and number == signal.SIGHUP):  # which is sent twice
            return
        self._arrived.append(number)
        if len(self._arrived) == 1:
            self._unheard = time.monotonic() + UNHEARD
        elif len(self._arrived) == 2:
            rank = 0 if self._peers is None else self._peers.rank
            self._end_by(time.monotonic() + AFTER_SECOND, Ending.of(rank, Interrupted(number)))

    def _answer(self) -> None:
        """Answer a first signal that arrived during a wait, for another rank, which is then notified, or otherwise."""
        if self._unheard is None or time.monotonic() < self._unheard:
            return
        self._unheard = None
        number = self._arrived[0]
        if self._peers is not None and self._defers():
            self._peers.ask_to_stop(number)  # one rank may wait for pictures, and the others for it
        if self._heard:
            return
        if self._peers is None or self._defers():
            _say(f"{signal.Signals(number).name}: received during a wait (once more: stop at once)")
            return
        ending = Ending.of(self._peers.rank, Interrupted(number))
        self._peers.leave(ending)
        self._end_by(time.monotonic() + self._time_left(), ending)

    def _time_left(self) -> float:
        return AFTER_ENDING_ELSEWHERE if self._peers is not None and self._peers.rank else AFTER_ENDING

    def _look(self) -> None:
        """Check the other ranks, and the parent."""
        if self._parent is not None and os.getppid() != self._parent:
            if self._peers is not None:
                self._peers.remove()  # instead of rank 0, which created the folder
            self._end(Ending(0, 1, "its process is gone"))
        if self._peers is None or self.ending is not None:
            return
        # A main thread in a GPU teardown may wait for the others, which wait for nobody.
        if self._peers.left is not None and self._deadline is None:
            self._end_by(time.monotonic() + AFTER_ENDING, self._peers.left)
        ending = reason_of(self._peers)
        if ending is not None:
            self.ending = ending
            self._end_by(time.monotonic() + self._time_left(), ending)
            self._own += 1
            signal.pthread_kill(self._main, signal.SIGTERM)  # only a real signal ends a sleep
            return
        waited_for = self._peers.waited_for()
        for line in waited_for:
            if self._peers.rank == 0 and line not in self.waited_for:
                _say(line)
        self.waited_for = waited_for

    def _end_by(self, when: float, ending: Ending) -> None:
        if self._deadline is None or when < self._deadline[0]:
            self._deadline = when, ending

    def _end(self, ending: Ending) -> None:
        """End the process and its children."""
        try:
            fallback = threading.Timer(LAST_WORDS, os._exit, (ending.exit_code,))
            fallback.daemon = True
            fallback.start()
            for child in multiprocessing.active_children():
                child.kill()
            with contextlib.suppress(Exception):
                self.last_words(ending)
            if self._peers is not None and self.ending is None:
                self._peers.leave(ending)
            if ending.signal is None and self._peers is not None and self._peers.rank == 0:
                _say(f"error: {PeerFailed(ending)}")
            if children.kill() and self._peers is not None and self._peers.rank == 0:
                self._peers.remove()  # no reader is left
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        finally:
            os._exit(ending.exit_code)


def reason_of(peers: Peers) -> Ending | None:
    """How another rank ended before the job was done; None while none is known to have ended."""
    if (ending := peers.ended() or children.failed(peers)) is not None:
        return ending
    if (lost := peers.lost()) is None:
        return None
    if (ending := children.failed(peers)) is not None:  # a child that has ended since it was checked
        return ending
    # A child whose first thread is gone while others are still dying has no exit code yet, which the next check reads.
    return None if children.has(lost.rank) else lost


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode())


_ENTERED: list[Watch] = []


def _forget() -> None:
    """In a forked child: its signals do not concern its parent's watch."""
    if _ENTERED:
        with contextlib.suppress(ValueError):  # forked by a thread other than the main one, in other code
            signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_forget)
