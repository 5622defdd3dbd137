"""DeepFool in L2 for a model that reads whole levels."""

from __future__ import annotations

from typing import Any

import eagerpy as ep
import foolbox

_HALF_A_LEVEL = 0.5 / 255


class DeepFoolOnLevels(foolbox.attacks.L2DeepFoolAttack):
    """Foolbox's DeepFool in L2, whose every step changes at least one value by a level.

    A step to a boundary that is near is short, and spread over all values: below half a level each, where a model of
    levels sees the same image, so that all steps together may change nothing. The most fragile images would seem
    unbreakable. Such a step is lengthened here until its largest part is half a level, which with the overshoot is
    rounded to the next one.

    Source: Moosavi-Dezfooli, Fawzi & Frossard 2016, "DeepFool: a simple and accurate method to fool deep neural
    networks".
    """

    def get_perturbations(self, distances: Any, grads: Any) -> Any:
        """See :class:`foolbox.attacks.L2DeepFoolAttack`."""
        step = super().get_perturbations(distances, grads)
        largest = step.flatten(start=1).abs().max(axis=-1)
        longer = ep.maximum(_HALF_A_LEVEL / ep.maximum(largest, 1e-12), 1.0)
        return step * longer.reshape((-1, 1, 1, 1))
