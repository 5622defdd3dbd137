"""Fields of a schema with the values that they allow."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

LARGEST = 2**31 - 1
"""The largest value of an integer key without an upper bound of its own."""


@dataclass(frozen=True)
class Allowed:
    """The values that a key allows, for checks and messages.

    Attributes:
        low, high: inclusive bounds of a number; None for no bound.
        above, below: exclusive bounds; ``below`` goes with ``low``.
        choices: the allowed values.
        form: an expression for all of a text that is allowed beside ``choices``.
        shown: what such a text is called in messages.
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[Any, ...] | None = None
    below: float | None = None
    form: str | None = None
    shown: str = ""

    def admits(self, value: Any) -> bool:
        """Whether a value is allowed; lists are checked value by value."""
        if isinstance(value, list | tuple):
            return all(self.admits(item) for item in value)
        if self.choices is not None:
            fits = self.form is not None and isinstance(value, str) and re.fullmatch(self.form, value)
            return value in self.choices or bool(fits)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if isinstance(value, int) and self.high is None and value > LARGEST:
            return False
        return (
            (isinstance(value, int) or math.isfinite(value))
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def refusal(self, value: Any) -> str | None:
        """Why a value is not allowed; None if it is."""
        if self.admits(value):
            return None
        numbers = value if isinstance(value, list | tuple) else [value]
        bounded = self.high is not None or self.below is not None or self.choices is not None
        if not bounded and any(isinstance(each, int) and each > LARGEST for each in numbers):
            return f"must be at most {LARGEST}"
        return f"must be {self}"

    def __str__(self) -> str:
        if self.choices is not None:
            return f"one of {', '.join([*map(str, self.choices), *filter(None, [self.shown])])}"
        if self.low is not None and self.high is not None:
            return f"between {self.low:.12g} and {self.high:.12g}"
        if self.above is not None:
            return f"above {self.above:g}" + ("" if self.high is None else f" and at most {self.high:g}")
        if self.below is not None:
            return f"at least {self.low:g} and below {self.below:g}"
        return f"{self.low:g} or more"


def number(
    low: float | None = None, high: float | None = None, *, above: float | None = None, below: float | None = None
) -> Any:
    """A mandatory number within bounds; its default is in the YAML file."""
    return field(default=MISSING, metadata={"allowed": Allowed(low=low, high=high, above=above, below=below)})


def path() -> Any:
    """A mandatory path of a file or folder, as text; its default is in the YAML file."""
    return field(default=MISSING, metadata={"path": True})


def choice(*choices: Any) -> Any:
    """A mandatory value from a fixed set; its default is in the YAML file."""
    return field(default=MISSING, metadata={"allowed": Allowed(choices=choices)})


def checkpoint() -> Any:
    """A mandatory name of a checkpoint of a run; its default is in the YAML file."""
    names = Allowed(choices=("last", "best", "ema"), form=r"epoch_\d{3,9}", shown="epoch_NNN")
    return field(default=MISSING, metadata={"allowed": names})
