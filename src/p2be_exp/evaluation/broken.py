"""Which images attacks broke: what one broke alone, and how their number grew with the effort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from p2be_exp.evaluation.condition import Condition
from p2be_exp.evaluation.effort import SCALES


def alone(conditions: Sequence[Condition], wrong: Mapping[str, NDArray[np.bool_]]) -> dict[str, int]:
    """How many images an attack broke that no other attack of the same radius broke, by the condition's ID.

    The same attack with half or twice its effort is no other one; what that breaks beyond all is its own.

    Args:
        conditions: attacks of one radius.
        wrong: which images each got wrong, ``(N,)``, by its ID; the same images in every one.

    >>> both = [Condition("attack", name, eps_levels=8) for name in ("a", "b")]
    >>> wrong = {"attack/a/8": np.array([1, 1, 0], bool), "attack/b/8": np.array([1, 0, 0], bool)}
    >>> alone(both, wrong)
    {'attack/a/8': 1, 'attack/b/8': 0}
    """
    found = {}
    for each in conditions:
        own = {each.name, *(f"{each.name}_{effort}" for effort in SCALES)}
        others = [wrong[other.id] for other in conditions if other.name not in own]
        by_others = np.logical_or.reduce(others) if others else np.zeros_like(wrong[each.id])
        found[each.id] = int((wrong[each.id] & ~by_others).sum())
    return found


def growth(broken_at: NDArray[np.floating]) -> list[list[int]]:
    """How many images were broken after how much effort: pairs of effort and number, both ascending.

    The first pair is that of no effort, the images that were wrong as they were; one more follows at each power of two
    up to the effort that the last image took.

    Args:
        broken_at: ``(N,)``, see :class:`~p2be_exp.attacks.attack.Adversarial`.

    >>> growth(np.array([0, 1, 3, 3, 5, np.nan]))
    [[0, 1], [1, 2], [2, 2], [4, 4], [8, 5]]
    """
    taken = np.sort(broken_at[~np.isnan(broken_at)])
    last = float(taken[-1]) if len(taken) else 0.0
    efforts = [0]
    while efforts[-1] < last:
        efforts.append(max(1, 2 * efforts[-1]))
    return [[effort, int(np.searchsorted(taken, effort, side="right"))] for effort in efforts]
