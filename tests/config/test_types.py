"""The types of a schema hold for values that no OmegaConf has seen."""

from dataclasses import dataclass
from typing import Any

import pytest

from p2be_exp.config.types import unfit


@dataclass
class Keys:
    whole: int = 0
    real: float = 0.0
    text: str = ""
    truth: bool = False
    maybe: int | None = None
    several: list[float] = None
    anything: Any = None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("whole", 3),
        ("real", 3),
        ("real", 3.5),
        ("text", ""),
        ("truth", True),
        ("maybe", None),
        ("maybe", 3),
        ("several", []),
        ("several", [1, 2.5]),
        ("anything", [{}]),
        ("nowhere", 3),
    ],
)
def test_what_fits(key, value):
    assert unfit(value, Keys, key) is None


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("whole", 3.0, "must be a whole number"),
        ("whole", True, "must be a whole number"),
        ("whole", None, "a value is required"),
        ("whole", "3", "must be a whole number"),
        ("real", False, "must be a number"),
        ("real", "1", "must be a number"),
        ("text", 3, "must be text"),
        ("text", None, "a value is required"),
        ("truth", 1, "must be true or false"),
        ("maybe", "x", "must be a whole number"),
        ("several", 3.0, "must be a list"),
        ("several", [1, "x"], "must be a number"),
        ("several", [None], "a value is required"),
    ],
)
def test_what_does_not_fit(key, value, why):
    assert unfit(value, Keys, key) == why
