"""An average of the weights along a training, beside the weights themselves: ``optim.ema``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """The running average a of parameters w, over their values after each step.

    The first value is taken as it is; then a <- d a + (1 - d) w. With n values in the average, d is n / (n + 1) where
    all count the same, and else min(decay, (1 + n) / (10 + n)), so that the first ones do not stay in it for long.

    Buffers are not averaged: the running statistics of batch norms stay those of the last weights.

    Args:
        parameters: by the names that a checkpoint has for them; their memory may move, the objects stay.
        decay: at least 0 and below 1; None for an average in which all steps count the same.

    Attributes:
        count: number of values in the average.

    Source: Polyak and Juditsky 1992; all alike as in Izmailov et al. 2018 (arXiv 1803.05407), who average once an
        epoch. The bound on the decay is that of TensorFlow's ``ExponentialMovingAverage``.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float | None) -> None:
        self._parameters, self.decay = dict(parameters), decay
        self._values: list[Tensor] = []
        self.count = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights in, in place and without a wait for the device."""
        weights = [parameter.detach() for parameter in self._parameters.values()]
        if self.count == 0:
            self._values = [weight.clone() for weight in weights]
        else:
            if self._values[0].device != weights[0].device:  # after a resume
                self._values = [value.to(weights[0].device) for value in self._values]
            torch._foreach_lerp_(self._values, weights, self._share())
        self.count += 1

    def _share(self) -> float:
        """Of the next value: 1 - d."""
        if self.decay is None:
            return 1 / (self.count + 1)
        return 1 - min(self.decay, (1 + self.count) / (10 + self.count))

    @torch.no_grad()
    def copy_to_parameters(self) -> None:
        """Give the parameters the values of the average.

        Raises:
            ValueError: it is of no step.
        """
        if self.count == 0:
            raise ValueError("an average of no step")
        for parameter, value in zip(self._parameters.values(), self._values, strict=True):
            parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """``count``, and the average as ``weights`` by name."""
        return {"count": self.count, "weights": dict(zip(self._parameters, self._values, strict=True))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what :meth:`state_dict` gave, to the bit.

        Raises:
            ValueError: it is of other parameters.
        """
        if state["weights"].keys() != self._parameters.keys():
            raise ValueError("the saved average is of other parameters")
        self.count = state["count"]
        self._values = [
            torch.empty_like(parameter, requires_grad=False).copy_(state["weights"][name])
            for name, parameter in self._parameters.items()
        ]
