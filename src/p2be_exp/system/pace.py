"""Interval of the progress lines of a job without a terminal, and formatting of durations."""

from __future__ import annotations

FIRST_LINE, NEXT_LINES = 20.0, 60.0
"""Without a terminal: seconds until the first line, and between later lines."""


def duration(seconds: float) -> str:
    """A duration as text: ``0:42``, ``12:05``, ``3:07:00``, ``2 days 3:07:00``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    clock = f"{hour}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{days} day{'s' * (days > 1)} {clock}" if days else clock
