"""Learning-rate schedules, as factors on the first learning rate."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence


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


class Steps:
    """``gamma`` to the power of the number of milestones that are behind.

    Args:
        milestones: epochs, ascending; after so many the factor changes. One beyond the end never comes.
        gamma: factor of each change.
        steps_per_epoch: optimizer steps in an epoch.
    """

    def __init__(self, milestones: Sequence[int], gamma: float, steps_per_epoch: int) -> None:
        self.milestones, self.gamma, self.steps_per_epoch = milestones, gamma, steps_per_epoch

    def __call__(self, step: int) -> float:
        """Factor at a step, the same all through an epoch."""
        return self.gamma ** bisect_right(self.milestones, step // self.steps_per_epoch)


class WarmedUpCosine(Cosine):
    """The cosine times ``1 - exp(-(t + 1) / T)``: a rate that rises fast at first.

    Args:
        total_steps, floor: of the cosine.
        time: T, in steps.

    Source: Bai et al. 2024 (arXiv 2301.12554), the authors' code, where T is a 25th of all steps.
    """

    def __init__(self, total_steps: int, floor: float, time: int) -> None:
        super().__init__(total_steps, floor)
        self.time = time

    def __call__(self, step: int) -> float:
        """Factor at a step."""
        return super().__call__(step) * -math.expm1(-(step + 1) / self.time)


class Constant:
    """The first learning rate throughout: the paper's "we do not apply the scheduling" for the table."""

    def __call__(self, step: int) -> float:
        """One."""
        return 1.0


def warmed_up(schedule: Callable[[int], float], steps: int) -> Callable[[int], float]:
    """A schedule times ``(t + 1) / steps`` in its first steps t = 0 .. steps - 1, and itself from then on.

    Args:
        schedule: factor at a step; it goes on underneath and is not shifted.
        steps: of the warm-up; 0 for none, which gives the schedule back.

    Returns:
        A function, of which PyTorch's ``LambdaLR`` saves nothing: a checkpoint holds numbers alone.

    Source: Goyal et al. 2017 (arXiv 1706.02677), section 2.2, gradual warm-up.
    """
    if not steps:
        return schedule

    def factor(step: int) -> float:
        return schedule(step) * (step + 1) / steps if step < steps else schedule(step)

    return factor
