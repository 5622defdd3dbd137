"""The activation of the residual networks: ReLU as published, or ELU in every place of it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]

_ACTIVATIONS: dict[str, Activation] = {"relu": F.relu, "elu": F.elu}


def activation_function(name: str) -> Activation:
    """A function of each element; it leaves its input as it is.

    Args:
        name: ``relu``; or ``elu``, x for x > 0 and exp(x) - 1 elsewhere (Clevert et al. 2016, alpha = 1).

    Raises:
        ValueError: another name.
    """
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation={name}: there are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]
