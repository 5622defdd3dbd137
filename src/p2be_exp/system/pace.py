"""How often a job without a terminal says how far it is, and how a person reads a time."""

from __future__ import annotations

FIRST_LINE, NEXT_LINES = 20.0, 60.0
"""Without a terminal: seconds to the first line, and between the next ones."""


def duration(seconds: float) -> str:
    """Seconds as a person reads them: ``0:42``, ``12:05``, ``3:07:00``, ``2 days 3:07:00``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{days} day{'s' * (days > 1)} {clock}" if days else clock
