"""Values of a stranger's file, each checked where it is read: a refusal names the file, the key and what is allowed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2be_exp.errors import BadInput

_MISSING = object()
LONGEST = 2000
"""Characters of a text; the panel's longest sentence has about 400."""


@dataclass(frozen=True)
class Checked:
    """A value in a file, and its place there.

    Attributes:
        file: for messages.
        key: where it is, with dots between the levels; empty for the whole content.
        value: as parsed, of any type.
    """

    file: Path
    key: str
    value: Any

    def __getitem__(self, name: str) -> Checked:
        """The value of a key; one that is missing is refused once it is asked for its type.

        Raises:
            BadInput: this is not a mapping.
        """
        if not isinstance(self.value, dict):
            raise self.refused("a mapping")
        return Checked(self.file, f"{self.key}.{name}".lstrip("."), self.value.get(name, _MISSING))

    @property
    def given(self) -> bool:
        """Whether it is there and not null."""
        return self.value is not _MISSING and self.value is not None

    def refused(self, allowed: str) -> BadInput:
        """The error that says what it must be."""
        if self.value is _MISSING:
            return BadInput(f"{self.file}: {self.key} is missing, must be {allowed}")
        shown = json.dumps(self.value, default=str)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        return BadInput(f"{self.file}: {self.key + '=' if self.key else ''}{shown}: must be {allowed}")

    def text(self, allowed: str = "a text", most: int = LONGEST) -> str:
        """A text of one line whose characters are all visible: none turns the direction of writing or hides.

        Raises:
            BadInput: it is not.
        """
        if not isinstance(self.value, str) or not self.value.isprintable() or len(self.value) > most:
            raise self.refused(f"{allowed}, of one line, printable, at most {most} characters")
        return self.value

    def one_of(self, *allowed: str) -> str:
        """One of a few words.

        Raises:
            BadInput: it is not.
        """
        if not isinstance(self.value, str) or self.value not in allowed:
            raise self.refused(f"one of {', '.join(allowed)}")
        return self.value

    def whole(self, low: int, high: int) -> int:
        """A whole number.

        Raises:
            BadInput: it is not, or is out of range.
        """
        if not isinstance(self.value, int) or isinstance(self.value, bool) or not low <= self.value <= high:
            raise self.refused(f"a whole number between {low:,} and {high:,}" if low < high else str(low))
        return self.value

    def number(self, low: float, high: float) -> float:
        """A finite number.

        Raises:
            BadInput: it is not, or is out of range.
        """
        right = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not right or not math.isfinite(self.value) or not low <= self.value <= high:
            raise self.refused(f"a number between {low:g} and {high:g}")
        return float(self.value)

    def items(self) -> Iterator[tuple[str, Checked]]:
        """The entries of a mapping.

        Raises:
            BadInput: it is not one.
        """
        if not isinstance(self.value, dict):
            raise self.refused("a mapping")
        return ((str(name), self[name]) for name in self.value)

    def entries(self) -> list[Checked]:
        """The entries of a list.

        Raises:
            BadInput: it is not one.
        """
        if not isinstance(self.value, list):
            raise self.refused("a list")
        return [Checked(self.file, f"{self.key}.{number}", value) for number, value in enumerate(self.value)]
