"""Hearing SIGINT, SIGTERM and SIGHUP, under Slurm its signals too, without losing what was computed."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

from p2be_exp.errors import Interrupted
from p2be_exp.system.signals import stop_signals
from p2be_exp.system.watch import Watch


class StopSignals:
    """Listens to :func:`~p2be_exp.system.signals.stop_signals` while it is entered.

    Outside a training loop a signal raises :class:`Interrupted` at once. Inside (``deferred``) it is noted, so that the
    step can be finished and saved; a second one raises at once. SIGHUP is never that second one: a shell whose terminal
    is gone passes it on, and the system sends its own.

    Where the main thread hears nothing, in a wait inside of a library, a thread ends the process at the second signal.

    Attributes:
        received: the signal that was noted, None before.
        deferred: whether a signal is noted instead of raised.
        watch: the thread.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.deferred = False
        self.watch = Watch(lambda: self.deferred)
        self._stopping = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        self.listen()
        self.watch.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.watch.__exit__(*error)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def listen(self) -> None:
        """Take the signals (again, after a library took them)."""
        for number in stop_signals():
            before = signal.signal(number, self._note)
            self._before.setdefault(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.watch.heard()
        if number == signal.SIGTERM and (reason := self.watch.asked_to_end()) is not None:
            if sys.exc_info()[1] is None:  # else this rank is on its way out already
                raise reason
            return
        if self._stopping and number == signal.SIGHUP:
            return
        self._stopping = True
        if not self.deferred or self.received is not None:
            raise Interrupted(number)
        self.received = number
        name = signal.Signals(number).name
        with suppress(OSError):  # nobody reads it any more
            # Not print: the signal may have come in the middle of one, and it cannot be entered twice.
            os.write(1, f"\n{name}: finishing the step, then saving (once more: stop at once)\n".encode())
