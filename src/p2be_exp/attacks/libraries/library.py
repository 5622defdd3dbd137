"""What every library's attack has in common: the twin, the way back to levels, the ball, and the random state."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast, get_args

import torch
from torch import Tensor, nn

from p2be_exp.attacks.attack import Attack, Search, predict
from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.libraries.random_state import seeded
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.errors import BadInput
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.model_input import to_levels
from p2be_exp.models.surrogate import Surrogate


class LibraryAttack(Attack):
    """An attack of another library on floats in [0, 1], with a radius of ``eps_levels / 255``.

    It is run on the model's differentiable twin. What it returns is rounded to levels, then moved into the ball; the
    model judges that. Both steps are counted: ``clamped`` says whether an image had to be moved, ``lost`` whether the
    model got it wrong before the move and not after it.

    The random numbers of the library are seeded for each batch, from the evaluation's seed and the batch's first image;
    other than those of this package's attacks they depend on the batch that an image is in. Python's, NumPy's and
    PyTorch's own states are as they were afterwards.

    Args:
        eps_levels: see :class:`Attack`.
        name: of the library and its method, the beginning of the ID.
        surrogate: gradient of the twin; the attack's ``gradient`` is "" where the method uses none.
        uses_gradient: whether the method does.
        restarts: searches from other random numbers.
    """

    clamps = True

    def __init__(
        self, eps_levels: int, name: str, surrogate: Surrogate, uses_gradient: bool = True, restarts: int = 1
    ) -> None:
        super().__init__(eps_levels, restarts)
        self.surrogate = surrogate
        self.gradient = surrogate if uses_gradient else ""
        self.id = f"{name}_{surrogate}" if uses_gradient else name

    @abstractmethod
    def run(self, twin: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """The library's adversarial images.

        Args:
            twin: floats in, logits out, with a gradient; in eval mode.
            images: ``(B, 3, H, W)`` in [0, 1], B at least 1, all of which the model gets right.
            labels: int64 ``(B,)``.
            seed: for libraries that want one of their own; the global generators are seeded already.

        Returns:
            Floats ``(B, 3, H, W)``; where one is not finite, the image's own value stands.
        """

    def search(
        self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom, restart: int = 0
    ) -> Search:
        """See :meth:`Attack.search`. Libraries do not say how many gradients of an image were zero: all images of a
        batch have the share of all its gradients."""
        if self.eps_levels == 0:  # a secant needs a level to each side, and there is nothing to search
            nothing = torch.zeros(len(images), dtype=torch.bool, device=images.device)
            none_known = torch.full_like(labels, torch.nan, dtype=torch.float)
            return Search(images.clone(), none_known, clamped=nothing, lost=nothing)
        levels, twin = on_twin(self, self.eps_levels, model, images, labels, random, restart)
        low, high = bounds(images, self.eps_levels)
        inside = levels.maximum(low).minimum(high)
        clamped = (inside != levels).flatten(1).any(1)
        lost = clamped & (predict(model, levels) != labels) & (predict(model, inside) == labels)
        zeros = twin.zero_share().expand(len(images)) if self.gradient else None
        return Search(inside, zeros, clamped=clamped, lost=lost)


class Runs(Protocol):
    """What a library's attack has whatever it looks for."""

    surrogate: Surrogate

    def run(self, twin: nn.Module, images: Tensor, labels: Tensor, seed: int) -> Tensor:
        """The library's adversarial images, see :meth:`LibraryAttack.run`."""


def on_twin(
    attack: Runs, reach: int, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom, restart: int
) -> tuple[Tensor, Watched]:
    """A library's attack run on a model's twin, under random numbers of its own.

    Args:
        attack: with the twin's surrogate.
        reach: of the secant, in levels, 1 or more.
        model: a :class:`~p2be_exp.models.classifier.Classifier`.
        images: uint8 ``(B, 3, H, W)``, all of which the model gets right.
        labels: int64 ``(B,)``.
        random: of these images.
        restart: which random numbers to use.

    Returns:
        What it found, rounded to levels, uint8 like ``images``, wherever that is; and the twin that it was run on.
    """
    twin = Watched(cast("Classifier", model).surrogate(attack.surrogate, radius=reach))
    seed = int(random.uniform(restart, 1)[0, 0] * 2**31)
    with seeded(seed):
        found = attack.run(twin, images.float() / 255, labels, seed).detach()
    return to_levels(torch.where(found.isfinite(), found, images.float() / 255)), twin


class Watched(nn.Module):
    """A twin for code that does not know it: it counts the gradients that are exactly 0, and takes any floats.

    Some methods look at points outside [0, 1], which are read as the nearest level; the gradient there is that of this
    level.
    """

    def __init__(self, twin: nn.Module) -> None:
        super().__init__()
        self.twin = twin
        self._zeros: list[Tensor] = []
        self._values = 0
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Floats ``(B, 3, H, W)`` to logits."""
        known = torch.where(images.isfinite(), images, 0.0)
        known = known + (known.clamp(0, 1) - known).detach()
        if known.requires_grad and torch.is_grad_enabled():
            known.register_hook(self._count)
        return self.twin(known)

    def _count(self, gradient: Tensor) -> None:
        self._zeros.append((gradient == 0).sum())
        self._values += gradient.numel()

    def zero_share(self) -> Tensor:
        """Share of the gradients that were exactly 0, ``()``; nan where none was asked for."""
        if not self._values:
            return torch.tensor(torch.nan, device=next(self.parameters()).device)
        return torch.stack(self._zeros).sum() / self._values


def check_params(
    key: str, method: Callable[..., Any], params: Mapping[str, Any] | None, reserved: tuple[str, ...]
) -> dict[str, Any]:
    """The further arguments of a method, checked against its signature.

    Args:
        key: of the method in the configuration with its value, for messages.
        method: a class.
        params: by name; None for none.
        reserved: arguments with a key of their own, or that are set here.

    Raises:
        BadInput: an argument that the method does not have or that is reserved; a value of another type than the
            default's, or none of those that its annotation lists.
    """
    known = {
        name: each
        for name, each in inspect.signature(method).parameters.items()
        if name not in reserved and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    given = params or {}
    if not isinstance(given, Mapping):
        raise BadInput(f"attack.params={given}: must be names with values, such as {{{next(iter(known), 'name')}:1}}")
    for name, value in given.items():
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes none"
            raise BadInput(f"attack.params={{{name}:{value}}}: {key} {takes}")
        if why := _unlike(value, known[name].default) or _unlisted(value, known[name].annotation):
            raise BadInput(f"attack.params={{{name}:{value}}}: must be {why}")
    return dict(given)


def _unlike(value: Any, default: Any) -> str | None:
    """What a value should be, if it is not of the default's type; None where that says nothing."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(default, int | float):
        return None if isinstance(value, int | float) and not isinstance(value, bool) else "a number"
    if isinstance(default, str):
        return None if isinstance(value, str) else "text"
    return None


def _unlisted(value: Any, annotation: Any) -> str | None:
    """What a text should be, where the annotation lists all texts; None where it is one of them, or none are listed."""
    listed = list(_listed(annotation))
    return f"one of {', '.join(listed)}" if listed and isinstance(value, str) and value not in listed else None


def _listed(annotation: Any) -> Iterator[str]:
    """The texts in the ``Literal``s of an annotation."""
    for each in get_args(annotation):
        if isinstance(each, str):
            yield each
        else:
            yield from _listed(each)
