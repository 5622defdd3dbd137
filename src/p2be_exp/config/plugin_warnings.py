"""Warnings about the plug-ins of a run: each is printed once per command, and of several processes only by rank 0."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SEEN: set[str] = set()
"""Warnings of this command: it may open a run several times."""

_HELD: list[str] = []
_rank: int | None = 0
"""Rank of this process; None while it is unknown, and warnings are held."""


def start_over() -> None:
    """Begin a command: no warning has been printed, and this process counts as rank 0."""
    global _rank
    _rank = 0
    _SEEN.clear()
    _HELD.clear()


def warn(text: str) -> None:
    """Print a warning on standard error, unless this command has printed it before or this is not rank 0."""
    if text in _SEEN:
        return
    _SEEN.add(text)
    if _rank is None:
        _HELD.append(text)
    elif _rank == 0:
        # One write, unlike print's two: several processes may write at a time.
        sys.stderr.write(f"warning: {text}\n")
        sys.stderr.flush()


def warn_as(rank: int) -> None:
    """Set the rank of this process for the rest of the command; on rank 0 the warnings held so far are printed."""
    global _rank
    _rank = rank
    held = list(_HELD)
    _HELD.clear()
    _SEEN.difference_update(held)
    for text in held:
        warn(text)


@contextmanager
def hold_warnings() -> Iterator[None]:
    """Hold warnings until :func:`warn_as`; where it is not called, since the command is refused before, print them.

    A run is opened before the configuration is composed, and so before it is known whether this process is one of
    several: the tasks of one ``srun`` may be independent jobs.
    """
    global _rank
    _rank = None
    try:
        yield
    finally:
        if _rank is None:
            warn_as(0)
