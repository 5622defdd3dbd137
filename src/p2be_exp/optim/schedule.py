"""Learning-rate schedules, as factors on the first learning rate."""

from __future__ import annotations

import math


class Cosine:
    """Half a cosine from 1 down to ``floor`` over ``total_steps`` steps.

    Step t = 0 .. T - 1 trains with ``floor + (1 - floor) * (1 + cos(pi t / T)) / 2``; ``floor`` itself is reached only
    after the last step, as in the reference code.

    Args:
        total_steps: T.
        floor: last learning rate over the first.
    """

    def __init__(self, total_steps: int, floor: float) -> None:
        self.total_steps, self.floor = total_steps, floor

    def __call__(self, step: int) -> float:
        """Factor at a step; beyond ``total_steps`` it stays at the floor."""
        progress = min(step, self.total_steps) / self.total_steps
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))


class Constant:
    """The first learning rate throughout: the paper's "we do not apply the scheduling" for the table."""

    def __call__(self, step: int) -> float:
        """One."""
        return 1.0
