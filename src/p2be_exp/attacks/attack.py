"""The interface of attacks: images and labels in, images inside the ball out, checked by a new forward pass."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from p2be_exp.attacks.ball import is_inside
from p2be_exp.attacks.frozen_norms import frozen_norms
from p2be_exp.attacks.random import AttackRandom

Kind = Literal["random", "white-box", "black-box", "transfer"]


@dataclass(frozen=True)
class Work:
    """The cost of an attack for one image that it does not break, in passes through the model.

    Attributes:
        gradients: forward passes with a gradient.
        forwards: forward passes without one.
    """

    gradients: int
    forwards: int


@dataclass(frozen=True)
class Search:
    """What one search of an attack found for each of its images.

    Attributes:
        images: uint8 ``(B, 3, H, W)``, inside the ball.
        zero_gradient: ``(B,)``, the share of an image's values whose gradient was exactly 0, mean over the steps; None
            without a gradient.
        losses: ``(steps, B)``, each image's cross-entropy along the steps, as the attack saw it; None without steps.
        found_at: ``(B,)``, after how much of its effort (see :attr:`Attack.effort`) an image had its result; None where
            that is at its end.
        clamped: bool ``(B,)``, whether the image had to be moved into the ball; None of an attack that never leaves it.
        lost: bool ``(B,)``, whether the model got it wrong before that move and not after it; None likewise.
    """

    images: Tensor
    zero_gradient: Tensor | None = None
    losses: Tensor | None = None
    found_at: Tensor | None = None
    clamped: Tensor | None = None
    lost: Tensor | None = None


@dataclass(frozen=True)
class Adversarial:
    """What an attack found for a batch.

    Attributes:
        images: uint8 ``(B, 3, H, W)``, inside the ball: of a broken image one that the model gets wrong, of the others
            the last candidate.
        broken: bool ``(B,)``, whether the model gets it wrong, as it was before or as the attack made it.
        zero_gradient: ``(B,)``, see :class:`Search`, mean over restarts; nan for images that were wrong from the start.
            None without a gradient.
        losses: ``(trace, B)`` of the first restart, nan likewise. None without a trace.
        broken_at: float32 ``(B,)``, the effort (:attr:`Attack.effort`, summed over restarts) after which an image was
            broken: 0 if it was wrong as it was, nan if it is not broken.
        clamped: bool ``(B,)``, see :class:`Search`, in any restart. None of an attack that never leaves the ball.
        lost: bool ``(B,)``, likewise, and not broken by another restart.
    """

    images: Tensor
    broken: Tensor
    zero_gradient: Tensor | None
    losses: Tensor | None
    broken_at: Tensor
    clamped: Tensor | None = None
    lost: Tensor | None = None


class Attack(ABC):
    """An attack with its settings.

    Args:
        eps_levels: radius of the ball in levels, 0 to 255.
        restarts: searches from other random numbers for the images that are not broken yet.

    Attributes:
        id: name, loss, gradient and source as they differ; conditions are called ``attack/ID/EPS_LEVELS``.
        gradient: how it gets a gradient: ``relaxed``, ``secant``, ``smooth``, ``interpolate``, or "" for none.
        trace: length of the losses that it keeps, 0 for none.
        serves: encodings that it supports: ``all``, ``bucketed`` (whose levels share rows by construction), or
            ``unbucketed``.
        steps: gradients of one search; 0 for none.
        queries: forward passes of one search, at most, where it has no gradient; 0 where it does not count them.
        climbs: whether it follows the gradient of the attacked model itself, whatever that is made of: the sanity panel
            then plants a direction that it must find.
        climbs_outputs: whether it follows the outputs of a model as they are, also where these hide the way: it is to
            show how much they hide, and may fail.
        clamps: whether its searches may leave the ball, so that images are moved into it and counted.
        stop_when_wrong: whether an image's search ends at its first wrong point. Always off in training; an attack
            for which it is optional has an argument of this name.
        capturable: whether a search takes the same operators in the same order whatever the images are, and reads no
            value back: a step of training with it can be one CUDA graph.
        scaled_from: of an attack made by :meth:`scaled`, the ID of the one that it was made from; else "".
    """

    id: str
    gradient: str = ""
    trace: int = 0
    serves: Literal["all", "bucketed", "unbucketed"] = "all"
    steps: int = 0
    queries: int = 0
    climbs: bool = False
    climbs_outputs: bool = False
    clamps: bool = False
    stop_when_wrong: bool = False
    capturable: bool = False
    scaled_from: str = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.__module__.startswith("p2be_exp.") and "capturable" not in vars(cls):
            cls.capturable = False  # what another class says of itself is no word for a plug-in

    def __init__(self, eps_levels: int, restarts: int = 1) -> None:
        self.eps_levels, self.restarts = eps_levels, restarts

    @property
    def kind(self) -> Kind:
        """What it knows of the model: ``black-box`` is its logits alone, ``random`` and ``transfer`` nothing."""
        return "white-box" if self.gradient else "black-box"

    @property
    def family(self) -> str:
        """The same for attacks that differ in steps or restarts alone."""
        return self.scaled_from or self.id

    @property
    def effort(self) -> int:
        """What one search spends on an image that it does not break: gradients, or queries where it takes none."""
        return self.steps or self.queries or 1

    def scaled(self, factor: float) -> Attack | None:
        """The same attack with another effort: of one with steps or queries the number of these, else its restarts.

        Args:
            factor: 2 for twice the effort, 0.5 for half of it (rounded down).

        Returns:
            A copy, with ``id`` unchanged; None where that effort is not possible, as half of a single step is not.
        """
        for name in ("steps", "queries", "restarts"):
            if now := getattr(self, name):
                return self._with(name, now * factor)
        return None

    def _with(self, name: str, value: float) -> Attack | None:
        """A copy with another whole number of steps, queries or restarts."""
        if value < 1:
            return None
        other = copy.copy(self)
        setattr(other, name, int(value))
        if name == "steps" and self.trace:
            other.trace = other.steps
        return other

    @property
    def work(self) -> Work:
        """What it asks of the model for one image, at most; the forward pass on the image as it is does not count."""
        gradients = self.steps * self.restarts
        return Work(gradients, self.queries * self.restarts + (0 if gradients else self.restarts))

    def remark(self, classes: int) -> str:
        """What a reader of its rows should know, on a data set of so many classes; "" for nothing."""
        return ""

    @abstractmethod
    def search(
        self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom, restart: int = 0
    ) -> Search:
        """One search for all images. The model is in eval mode and its parameters need no gradient (:func:`attacked`).

        Args:
            model: uint8 images in, logits out (a :class:`~p2be_exp.models.classifier.Classifier`).
            images: uint8 ``(B, 3, H, W)``.
            labels: int64 ``(B,)``.
            random: of these images.
            restart: which random numbers to use.
        """

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom) -> Adversarial:
        """Attack a batch; images that are broken leave it.

        Raises:
            RuntimeError: a candidate outside the ball, which is an error of the attack.
        """
        with attacked(model):
            found, broken = images.clone(), predict(model, images) != labels
            broken_at = torch.where(broken, 0.0, torch.nan)
            searches: list[tuple[Tensor, Search]] = []
            for restart in range(self.restarts):
                left = (~broken).nonzero().squeeze(1)
                if not len(left):
                    break
                search = self.search(model, images[left], labels[left], random.select(left), restart)
                if not is_inside(search.images, images[left], self.eps_levels).all():
                    raise RuntimeError(f"{self.id}: a candidate is not uint8 inside {self.eps_levels} levels")
                found[left] = search.images
                broken[left] = predict(model, search.images) != labels[left]
                broken_at[left] = torch.where(broken[left], self._spent(search, restart), torch.nan)
                searches.append((left, search))
        zeros = _mean_zeros(searches, images) if self.gradient else None
        losses = _first_losses(searches, images, self.trace) if self.trace else None
        clamped, lost = _moved(searches, images) if self.clamps else (None, None)
        lost = None if lost is None else lost & ~broken
        return Adversarial(found, broken, zeros, losses, broken_at, clamped, lost)

    def _spent(self, search: Search, restart: int) -> Tensor:
        """The effort after which each image of a search had its result, ``(B,)``."""
        most = torch.full((len(search.images),), float(self.effort), device=search.images.device)
        return restart * most + (most if search.found_at is None else search.found_at)


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """The class that the model gives to each image, without a gradient."""
    with torch.no_grad():
        return model(images).argmax(dim=1)


@contextmanager
def attacked(model: nn.Module) -> Iterator[None]:
    """Eval mode, no parameter needs a gradient, gradients are on; everything is as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        with torch.enable_grad(), frozen_norms(model):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, needs in wanted:
            parameter.requires_grad_(needs)


def _mean_zeros(searches: list[tuple[Tensor, Search]], images: Tensor) -> Tensor:
    total, count = (torch.zeros(len(images), device=images.device) for _ in range(2))
    for left, search in searches:
        assert search.zero_gradient is not None  # of an attack with a gradient
        total[left] += search.zero_gradient.float()
        count[left] += 1
    return total / count


def _first_losses(searches: list[tuple[Tensor, Search]], images: Tensor, trace: int) -> Tensor:
    losses = torch.full((trace, len(images)), float("nan"), device=images.device)
    if searches:
        left, search = searches[0]
        assert search.losses is not None  # of an attack with a trace
        losses[:, left] = search.losses.float()
    return losses


def _moved(searches: list[tuple[Tensor, Search]], images: Tensor) -> tuple[Tensor, Tensor]:
    """``clamped`` and ``lost`` of all images, in any restart."""
    clamped, lost = (torch.zeros(len(images), dtype=torch.bool, device=images.device) for _ in range(2))
    for left, search in searches:
        assert search.clamped is not None and search.lost is not None  # noqa: PT018  # of an attack that clamps
        clamped[left] |= search.clamped
        lost[left] |= search.lost
    return clamped, lost
