"""Handling SIGINT, SIGTERM and SIGHUP, and Slurm's signals, without losing results."""

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
    """Handles :func:`~p2be_exp.system.signals.stop_signals` while it is entered.

    Outside a training loop a signal raises :class:`Interrupted` at once. Inside (``deferred``) it is recorded, so the
    step can be finished and saved; a second one raises at once. SIGHUP never counts as the second one: when a terminal
    closes, both the shell and the system send it.

    While the main thread blocks inside a library, a thread ends the process at the second signal.

    Attributes:
        received: the recorded signal; None before.
        deferred: whether a signal is recorded instead of raised.
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
        """Install the handlers (again, after a library replaced them)."""
        for number in stop_signals():
            before = signal.signal(number, self._note)
            self._before.setdefault(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.watch.heard()
        if number == signal.SIGTERM and (reason := self.watch.asked_to_end()) is not None:
            if sys.exc_info()[1] is None:  # otherwise this rank is already ending
                raise reason
            return
        if self._stopping and number == signal.SIGHUP:
            return
        self._stopping = True
        if not self.deferred or self.received is not None:
            raise Interrupted(number)
        self.received = number
        name = signal.Signals(number).name
        with suppress(OSError):  # the reader may be gone
            # Not print: the signal may have interrupted one, and print is not reentrant.
            os.write(1, f"\n{name}: finishing the step, then saving (once more: stop at once)\n".encode())
