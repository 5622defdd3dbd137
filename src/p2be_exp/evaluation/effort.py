"""Effort where it decides: the attack behind the worst case of a radius, again with half and with twice its effort.

If twice the effort breaks hardly more images than once, more of the same would not change the verdict; if it does, the
worst case is one of the attack's patience and not of the network.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from p2be_exp.attacks.attack import Attack
from p2be_exp.evaluation.condition import Condition

SCALES = {"half": 0.5, "twice": 2.0}
"""The efforts, in parts of the first one, by what their rows' names end with."""


def decisive(attack_of: Mapping[Condition, Attack], wrong: Mapping[str, NDArray[np.bool_]]) -> list[Condition]:
    """For each radius at which an image stands, the condition of the attack that breaks the most images.

    Of equals it is the one that asked the model most.

    Args:
        attack_of: the attacks of an evaluation, by their conditions.
        wrong: which images each condition got wrong, ``(N,)``, by its ID; of the attacks that have been measured.
    """
    found = []
    for radius in sorted({attack.eps_levels for attack in attack_of.values()}):
        here = [each for each in attack_of if each.eps_levels == radius and each.id in wrong]
        if here and not np.logical_or.reduce([wrong[each.id] for each in here]).all():
            found.append(max(here, key=lambda each: (int(wrong[each.id].sum()), _cost(attack_of[each]))))
    return found


def with_other_efforts(attack_of: Mapping[Condition, Attack], chosen: list[str]) -> dict[Condition, Attack]:
    """The attacks of some conditions with half and with twice their effort, by the conditions that they make.

    Their IDs end with ``_half`` and ``_twice``. An attack without such an effort, as one of a single step without half
    of it, is left out.

    Args:
        attack_of: the attacks of an evaluation, by their conditions.
        chosen: IDs of conditions.
    """
    found: dict[Condition, Attack] = {}
    for condition, attack in attack_of.items():
        for name, factor in SCALES.items() if condition.id in chosen else ():
            if (scaled := attack.scaled(factor)) is not None:
                scaled = copy.copy(scaled)
                scaled.scaled_from, scaled.id = attack.family, f"{attack.id}_{name}"
                found[replace(condition, name=scaled.id)] = scaled
    return found


def _cost(attack: Attack) -> int:
    """Passes through the model for an image that stays; a backward pass costs about as much as two forward passes."""
    return 3 * attack.work.gradients + attack.work.forwards
