"""The L-infinity attacks of the package ``torchattacks``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
import torchattacks
from torch import Tensor, nn

from p2be_exp.attacks.libraries.library import LibraryAttack, check_params
from p2be_exp.errors import BadInput
from p2be_exp.models.surrogate import Surrogate

WITHOUT_GRADIENT = ("Square",)

_SET_HERE = ("model", "eps", "norm", "seed", "steps", "n_classes", "verbose")
_CLASSES_OF = {"APGDT": 4}


class TorchAttack(LibraryAttack):
    """One of torchattacks' attacks.

    Its step sizes ``alpha`` are made for a radius of 8/255; unless ``params`` has one, it is scaled to the radius.

    Args:
        eps_levels: see :class:`~p2be_exp.attacks.attack.Attack`.
        method: name of a class in ``torchattacks``.
        gradient: surrogate gradient of the twin.
        steps: of the method; None for the library's own number, which is 10 for most.
        restarts: see :class:`~p2be_exp.attacks.attack.Attack`.
        params: further arguments of the class.

    Raises:
        BadInput: the method, or the installed torchattacks, has no such argument.

    Source: Kim 2020, "Torchattacks: A PyTorch Repository for Adversarial Attacks".
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
        uses_gradient = method not in WITHOUT_GRADIENT
        super().__init__(eps_levels, f"torchattacks_{method}", gradient, uses_gradient, restarts)
        key, made = f"attack.method={method}", getattr(torchattacks, method, None)
        if made is None:
            raise BadInput(
                f"attack.method={method}: not in torchattacks {torchattacks.__version__}, which is installed"
            )
        key = f"attack.method={method}"
        self.method, self.arguments = method, check_params(key, made, params, reserved=_SET_HERE)
        known = {name: each.default for name, each in inspect.signature(made).parameters.items()}
        if steps is not None:
            if "steps" not in known:
                raise BadInput(f"attack.steps={steps}: {key} has no steps")
            self.arguments["steps"] = steps
        if "alpha" in known:
            self.arguments.setdefault("alpha", known["alpha"] * (eps_levels / 255) / known["eps"])
        self.known = frozenset(known)
        self.steps = self.arguments.get("steps", known.get("steps", 1)) if uses_gradient else 0
        self.queries = 0 if uses_gradient else self.arguments.get("n_queries", known.get("n_queries", 1))

    def run(self, twin: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """See :meth:`LibraryAttack.run`.

        Raises:
            BadInput: the network has fewer classes than the method's loss compares.
        """
        with torch.no_grad():
            classes = twin(images[:1]).shape[1]
        if classes < (least := _CLASSES_OF.get(self.method, 2)):
            raise BadInput(f"attack.method={self.method}: needs {least} classes; the network has {classes}")
        given = {"eps": self.eps_levels / 255, "norm": "Linf", "seed": seed, "n_classes": classes}
        given = {name: value for name, value in given.items() if name in self.known}
        return getattr(torchattacks, self.method)(twin, **given, **self.arguments)(images, labels)
