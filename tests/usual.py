"""Encodings and attacks as most tests want them: what a test is not about stands here, once.

The package's own classes have no such values; a run's stand in ``conf/``.
"""

from __future__ import annotations

from typing import Any

from p2be_exp import encodings
from p2be_exp.attacks import pgd, random_in_ball, square


class P2BE(encodings.P2BE):
    """A learned table as the reference code has it."""

    def __init__(self, M: int = 64, **settings: Any) -> None:
        super().__init__(M, **{"smoothness": "mean", "init": "normal", "slope_at_zero": 4.0, **settings})


class PGD(pgd.PGD):
    """One search on the cross-entropy."""

    def __init__(
        self,
        eps_levels: int,
        gradient: str = "secant",
        loss: str = "ce",
        steps: int = 40,
        restarts: int = 1,
        **more: Any,
    ) -> None:
        super().__init__(eps_levels, gradient, loss, steps, restarts, **more)


class Square(square.Square):
    """One search."""

    def __init__(self, eps_levels: int, queries: int, restarts: int = 1, **more: Any) -> None:
        super().__init__(eps_levels, queries, restarts, **more)


class RandomInBall(random_in_ball.RandomInBall):
    """One try."""

    def __init__(self, eps_levels: int, restarts: int = 1) -> None:
        super().__init__(eps_levels, restarts)
