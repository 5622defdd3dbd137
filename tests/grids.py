"""Cases of a parametrized test: what differs, in the place of every product of its parameters."""

from collections.abc import Sequence
from typing import Any


def in_turn(*parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Cases in which each value of each parameter is met: as many as the longest has, the others begin again."""
    number = max(map(len, parameters))
    return [tuple(values[place % len(values)] for values in parameters) for place in range(number)]
