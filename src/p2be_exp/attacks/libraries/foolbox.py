"""Foolbox's L-infinity attacks, and what all of its attacks here have in common."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import foolbox
from torch import Tensor, nn

from p2be_exp.attacks.libraries.library import LibraryAttack, check_params
from p2be_exp.config.foolbox_methods import class_of
from p2be_exp.errors import BadInput
from p2be_exp.models.surrogate import Surrogate

WITHOUT_GRADIENT = ("LinfRepeatedAdditiveUniformNoiseAttack",)


class FoolboxAttack(LibraryAttack):
    """One of Foolbox's attacks.

    Those that look for the smallest distance (DeepFool, FMN) know no radius: their images are moved into the ball like
    every other.

    Args:
        eps_levels: see :class:`~p2be_exp.attacks.attack.Attack`.
        method: one of :data:`~p2be_exp.config.foolbox_methods.IN_BALL`, or its short name.
        gradient: surrogate gradient of the twin.
        steps: of the method; None for Foolbox's own number.
        restarts: see :class:`~p2be_exp.attacks.attack.Attack`.
        params: further arguments of the class.

    Raises:
        BadInput: the method, or the installed Foolbox, has no such argument.

    Source: Rauber et al. 2020, "Foolbox Native".
    """

    def __init__(
        self,
        eps_levels: int,
        method: str,
        gradient: Surrogate,
        steps: int | None,
        restarts: int,
        params: Mapping[str, Any] | None,
    ) -> None:
        name = class_of(method)
        uses_gradient = name not in WITHOUT_GRADIENT
        super().__init__(eps_levels, f"foolbox_{name}", gradient, uses_gradient, restarts)
        self.attack = built(method, steps, params)
        self.steps = getattr(self.attack, "steps", 1) if uses_gradient else 0
        self.queries = 0 if uses_gradient else getattr(self.attack, "repeats", 1)

    def run(self, twin: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """See :meth:`LibraryAttack.run`."""
        target = foolbox.PyTorchModel(twin, bounds=(0, 1), device=images.device)
        # The first of the three is what the attack found; the second is moved into the ball of floats by Foolbox.
        found, _, _ = self.attack(target, images, labels, epsilons=self.eps_levels / 255)
        return found


def built(
    method: str,
    steps: int | None,
    params: Mapping[str, Any] | None,
    instead: type | None = None,
    reserved: tuple[str, ...] = (),
) -> Any:
    """A Foolbox attack with its settings.

    Args:
        method: see :mod:`p2be_exp.config.foolbox_methods`.
        steps: None for Foolbox's own number.
        params: further arguments of the class.
        instead: a class derived from the method's, to be taken in its place.
        reserved: arguments that are not for ``params``, beside ``steps``.

    Raises:
        BadInput: the method, or the installed Foolbox, has no such argument.
    """
    key, made = f"attack.method={method}", instead or getattr(foolbox.attacks, class_of(method), None)
    if made is None:
        raise BadInput(f"{key}: not in Foolbox {foolbox.__version__}, which is installed")
    arguments = check_params(key, made, params, reserved=("steps", *reserved))
    if steps is not None:
        if "steps" not in inspect.signature(made).parameters:
            raise BadInput(f"attack.steps={steps}: {key} has no steps")
        arguments["steps"] = steps
    return made(**arguments)
