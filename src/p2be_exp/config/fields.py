"""Fields of a schema that say which values are allowed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

LARGEST = 2**31 - 1
"""The largest whole number of a key that names no smaller one: nothing is counted beyond it."""


@dataclass(frozen=True)
class Allowed:
    """What a value may be, to check it and to say so.

    Attributes:
        low, high: inclusive bounds of a number, None where there is none.
        above: exclusive lower bound.
        choices: the values that there are.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[Any, ...] | None = None

    def admits(self, value: Any) -> bool:
        """Whether a value is allowed; lists are checked value by value."""
        if isinstance(value, list | tuple):
            return all(self.admits(item) for item in value)
        if self.choices is not None:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, int) and self.high is None and value > LARGEST:
            return False
        return (
            (isinstance(value, int) or math.isfinite(value))
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
        )

    def refusal(self, value: Any) -> str | None:
        """Why a value is not allowed; None where it is."""
        if self.admits(value):
            return None
        numbers = value if isinstance(value, list | tuple) else [value]
        bounded = self.high is not None or self.choices is not None
        if not bounded and any(isinstance(each, int) and each > LARGEST for each in numbers):
            return f"allowed is at most {LARGEST}"
        return f"allowed is {self}"

    def __str__(self) -> str:
        if self.choices is not None:
            return ", ".join(str(choice) for choice in self.choices)
        if self.low is not None and self.high is not None:
            return f"{self.low:.12g} to {self.high:.12g}"
        if self.above is not None:
            return f"above {self.above:g}" + ("" if self.high is None else f", at most {self.high:g}")
        return f"{self.low:g} or more"


def number(low: float | None = None, high: float | None = None, *, above: float | None = None) -> Any:
    """A mandatory number within bounds; its value stands in the YAML file."""
    return field(default=MISSING, metadata={"allowed": Allowed(low=low, high=high, above=above)})


def path() -> Any:
    """A mandatory path of a file or folder, as text; its value stands in the YAML file."""
    return field(default=MISSING, metadata={"path": True})


def choice(*choices: Any) -> Any:
    """A mandatory value out of a few; its value stands in the YAML file."""
    return field(default=MISSING, metadata={"allowed": Allowed(choices=choices)})
