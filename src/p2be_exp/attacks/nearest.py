"""The interface of attacks without a radius: the nearest image that the model gets wrong, and how far away it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from p2be_exp.attacks.attack import Kind, Search, Work, attacked, predict
from p2be_exp.attacks.random import AttackRandom


@dataclass(frozen=True)
class Nearest:
    """The nearest wrong images that an attack found for a batch.

    Attributes:
        images: uint8 ``(B, 3, H, W)``: of an image that is broken the nearest one that the model gets wrong, of the
            others the image itself.
        distance: float64 ``(B,)``, their L2 distance in levels: 0 of an image that is wrong as it is, infinite of one
            that is not broken. An upper bound: a better attack finds a nearer one.
        zero_gradient: ``(B,)``, see :class:`~p2be_exp.attacks.attack.Search`, mean over restarts; nan for images that
            were wrong from the start. None without a gradient.
    """

    images: Tensor
    distance: Tensor
    zero_gradient: Tensor | None = None


class NearestAttack(ABC):
    """An attack that looks for the nearest wrong image, at any distance.

    It is no :class:`~p2be_exp.attacks.attack.Attack`: what it finds is inside no ball, so that its results are not
    those of a radius and no part of a worst case.

    Args:
        restarts: searches from other random numbers; the nearest image of all counts.

    Attributes:
        id: name and gradient; its condition is called ``distance/ID``.
        gradient: how it gets a gradient: ``secant``, ``smooth``, ``interpolate``, or "" for none.
    """

    id: str
    gradient: str = ""

    def __init__(self, restarts: int = 1) -> None:
        self.restarts = restarts

    @property
    def kind(self) -> Kind:
        """What it knows of the model: ``black-box`` is its answers alone."""
        return "white-box" if self.gradient else "black-box"

    @property
    @abstractmethod
    def work(self) -> Work:
        """What it asks of the model for one image, at most."""

    @abstractmethod
    def search(self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom, restart: int) -> Search:
        """One search for images that the model gets right, as :meth:`p2be_exp.attacks.attack.Attack.search`.

        Its candidates are levels at any distance; whether they are wrong is judged by the caller.
        """

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom) -> Nearest:
        """Attack a batch; each candidate is shown to the model afresh.

        Raises:
            RuntimeError: a candidate is not uint8 of the images' shape, which is an error of the attack.
        """
        with attacked(model):
            wrong = predict(model, images) != labels
            found, distance = images.clone(), torch.where(wrong, 0.0, torch.inf).double()
            left, zeros = (~wrong).nonzero().squeeze(1), []
            for restart in range(self.restarts if len(left) else 0):
                search = self.search(model, images[left], labels[left], random.select(left), restart)
                if search.images.dtype != torch.uint8 or search.images.shape != images[left].shape:
                    raise RuntimeError(f"{self.id}: a candidate is not uint8 levels of the image's shape")
                broken = predict(model, search.images) != labels[left]
                away = torch.where(broken, l2_levels(search.images, images[left]), torch.inf)
                nearer = away < distance[left]
                found[left[nearer]], distance[left[nearer]] = search.images[nearer], away[nearer]
                zeros.append(search.zero_gradient)
        return Nearest(found, distance, self._mean_zeros(zeros, left, images) if self.gradient else None)

    def _mean_zeros(self, zeros: list[Tensor | None], left: Tensor, images: Tensor) -> Tensor:
        known = [each.float() for each in zeros if each is not None]
        mean = torch.full((len(images),), torch.nan, device=images.device)
        if known:
            mean[left] = torch.stack(known).mean(0)
        return mean


def l2_levels(candidates: Tensor, images: Tensor) -> Tensor:
    """L2 distance of each pair of images in levels, the root of an exact sum: float64 ``(B,)``.

    In [0, 1] it is this divided by 255.

    >>> l2_levels(torch.tensor([[3, 0]], dtype=torch.uint8), torch.tensor([[0, 4]], dtype=torch.uint8)).tolist()
    [5.0]
    """
    return (candidates.long() - images.long()).square().flatten(1).sum(1).double().sqrt()
