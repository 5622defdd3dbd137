"""Foolbox's attacks that look for the nearest wrong image, in L2."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import foolbox
import torch
from torch import Tensor, nn

from p2be_exp.attacks.attack import Search, Work
from p2be_exp.attacks.libraries.deep_fool import DeepFoolOnLevels
from p2be_exp.attacks.libraries.foolbox import built
from p2be_exp.attacks.libraries.hop_skip_jump import HopSkipJumpOnLevels
from p2be_exp.attacks.libraries.library import on_twin
from p2be_exp.attacks.nearest import NearestAttack
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.config.foolbox_methods import class_of
from p2be_exp.errors import BadInput
from p2be_exp.models.surrogate import Surrogate

WITHOUT_GRADIENT = ("HopSkipJumpAttack",)

_INSTEAD = {"HopSkipJumpAttack": HopSkipJumpOnLevels, "L2DeepFoolAttack": DeepFoolOnLevels}
_RESERVED = {"HopSkipJumpAttack": ("init_attack", "tensorboard", "constraint")}
_LEAST = {"confidence": 0, "candidates": 2}
"""The smallest values of arguments; of all others those above 0 are allowed."""

_WHOLE = ("candidates", "binary_search_steps", "initial_gradient_eval_steps", "max_gradient_eval_steps")


class FoolboxNearest(NearestAttack):
    """One of Foolbox's attacks without a radius, on the model's differentiable twin.

    What it returns is rounded to levels; the model judges that, and the distance is that of the levels.

    Args:
        reach: of the twin's secant, in levels, 1 or more.
        method: one of :data:`~p2be_exp.config.foolbox_methods.NEAREST`, or its short name.
        gradient: surrogate gradient of the twin.
        steps: of the method; None for Foolbox's own number.
        restarts: see :class:`~p2be_exp.attacks.nearest.NearestAttack`.
        params: further arguments of the class.

    Raises:
        BadInput: the method, or the installed Foolbox, has no such argument; a number that is out of range.

    Source: Rauber et al. 2020, "Foolbox Native"; the attacks: Carlini & Wagner 2017; Moosavi-Dezfooli et al. 2016
    (DeepFool); Rony et al. 2019 (DDN); Chen et al. 2020 (HopSkipJump).
    """

    def __init__(
        self,
        reach: int,
        method: str,
        gradient: Surrogate,
        steps: int | None,
        restarts: int,
        params: Mapping[str, Any] | None,
    ) -> None:
        super().__init__(restarts)
        name = class_of(method)
        self.reach, self.surrogate = reach, gradient
        self.gradient = "" if name in WITHOUT_GRADIENT else gradient
        self.id = f"foolbox_{name}_{gradient}" if self.gradient else f"foolbox_{name}"
        self.attack = built(method, steps, params, _INSTEAD.get(name), _RESERVED.get(name, ()))
        _check_numbers(params or {})

    @property
    def work(self) -> Work:
        """See :attr:`NearestAttack.work`."""
        per_search = _WORK[type(self.attack)](self.attack)
        return Work(per_search.gradients * self.restarts, per_search.forwards * self.restarts)

    def search(self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom, restart: int) -> Search:
        """See :meth:`NearestAttack.search`. All images of a batch have the share of all its zero gradients."""
        levels, twin = on_twin(self, self.reach, model, images, labels, random, restart)
        return Search(levels, twin.zero_share().expand(len(images)) if self.gradient else None)

    def run(self, twin: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """See :meth:`~p2be_exp.attacks.libraries.library.LibraryAttack.run`."""
        target = foolbox.PyTorchModel(twin, bounds=(0, 1), device=images.device)
        found, _, _ = self.attack(target, images, labels, epsilons=None)
        if isinstance(self.attack, foolbox.attacks.L2CarliniWagnerAttack):
            # It returns a black image where it found none, which the network may well get wrong.
            found = torch.where((found == 0).flatten(1).all(1)[:, None, None, None], torch.nan, found)
        return found


def _check_numbers(params: Mapping[str, Any]) -> None:
    """Check the ranges of numbers, which Foolbox finds out while it runs, or never."""
    for name, value in params.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        least, whole = _LEAST.get(name), name in _WHOLE
        outside = not math.isfinite(value) or (value <= 0 if least is None else value < least)
        if outside or (whole and not isinstance(value, int)):
            kind = "a whole number" if whole else "a number"
            allowed = f"{kind} above 0" if least is None else f"{kind}, {least} or more"
            raise BadInput(f"attack.params={{{name}:{value}}}: must be {allowed}")


_WORK: dict[type, Callable[[Any], Work]] = {
    foolbox.attacks.L2CarliniWagnerAttack: lambda attack: Work(attack.binary_search_steps * attack.steps, 0),
    DeepFoolOnLevels: lambda attack: Work(attack.steps * (attack.candidates - 1), 0),
    foolbox.attacks.DDNAttack: lambda attack: Work(attack.steps, 0),
    HopSkipJumpOnLevels: lambda attack: Work(0, attack.queries),
}
"""What one search asks for, at most; of HopSkipJump without its start and its bisections."""
