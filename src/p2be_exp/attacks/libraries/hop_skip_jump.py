"""HopSkipJump for a model that reads whole levels, image by image where that matters."""

from __future__ import annotations

import math
import warnings
from typing import Any

import eagerpy as ep
import foolbox
import torch
from torch import Tensor

_BLENDING_STEPS = 50
_DRAWN_AT_ONCE = 2**26
"""Random numbers in memory at a time, of all images and directions of a step."""


class HopSkipJumpOnLevels(foolbox.attacks.HopSkipJumpAttack):
    """Foolbox's HopSkipJump in L2, with four differences.

    * Its start is a random image that the model gets wrong, blended with the image as far as it stays wrong. Foolbox
      gives up the whole batch where one image has none; here that image is returned as it is, and the others go on.
    * Directions are tried about a level of each value away, or further. Foolbox's own distance shrinks with the number
      of values to far below half a level, where a model of levels sees the same image: what is left of the gradient is
      one or two values, and the attack stands still.
    * The estimated direction of each image has a length of 1. Foolbox divides by the length of the whole batch's, so
      that its steps would be the smaller the more images a batch has.
    * Large batches are searched in groups.

    Source: Chen, Jordan & Wainwright 2020, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack".
    """

    @property
    def queries(self) -> int:
        """Forward passes for the directions of all steps, an image."""
        return sum(self._directions(step) for step in range(self.steps))

    def _directions(self, step: int) -> int:
        return int(min(self.initial_num_evals * math.sqrt(step + 1), self.max_num_evals))

    def run(self, model: Any, inputs: Any, criterion: Any, *, early_stop: float | None = None, **kwargs: Any) -> Any:
        """See :meth:`foolbox.attacks.base.MinimizationAttack.run`."""
        images, labels = ep.astensor(inputs).raw, criterion.labels.raw
        starts = self._starts(model, images, labels)
        found, has_start = images.clone(), (model(starts).argmax(1) != labels).nonzero().squeeze(1)
        for places in has_start.split(self._at_once(images)) if len(has_start) else ():
            found[places] = self._from_start(model, images[places], labels[places], starts[places])
        return ep.astensor(found)

    def _starts(self, model: Any, images: Tensor, labels: Tensor) -> Tensor:
        """Random images that the model gets wrong, blended with the images; others where none was drawn."""
        search = foolbox.attacks.LinearSearchBlendedUniformNoiseAttack(steps=_BLENDING_STEPS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it did not draw one for each, which is looked at here
            return search.run(model, images, foolbox.Misclassification(labels))

    def _at_once(self, images: Tensor) -> int:
        drawn = self._directions(max(self.steps - 1, 0)) * images[0].numel()
        return max(1, _DRAWN_AT_ONCE // drawn)

    def _from_start(self, model: Any, images: Tensor, labels: Tensor, starts: Tensor) -> Tensor:
        """The search for images that have a start; of one that cannot be searched for, the start."""
        criterion = foolbox.Misclassification(labels)
        try:
            return super().run(model, images, criterion, starting_points=starts)
        except (AssertionError, ValueError):  # a model that decides a point differently when it is asked again
            if len(images) == 1:
                return starts
        alone = [slice(place, place + 1) for place in range(len(images))]
        return torch.cat([self._from_start(model, images[each], labels[each], starts[each]) for each in alone])

    def approximate_gradients(self, is_adversarial: Any, x_advs: Any, steps: int, delta: Any) -> Any:
        """See :class:`foolbox.attacks.HopSkipJumpAttack`."""
        direction = super().approximate_gradients(is_adversarial, x_advs, steps, delta)
        length = direction.flatten(start=1).norms.l2(axis=-1)
        return direction / ep.maximum(length, 1e-12).reshape((-1, 1, 1, 1))

    def select_delta(self, originals: Any, distances: Any, step: int) -> Any:
        """See :class:`foolbox.attacks.HopSkipJumpAttack`: the length of a direction's trial, ``(B,)`` or a number."""
        of_a_level = math.sqrt(math.prod(originals.shape[1:])) / 255
        return ep.maximum(super().select_delta(originals, distances, step), of_a_level)
