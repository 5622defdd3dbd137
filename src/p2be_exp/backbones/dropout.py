"""Dropout whose choices are a function of (seed, epoch, image), like every other random choice of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2be_exp.randomness.draws import Purpose
from p2be_exp.randomness.uniform import uniform_of_images

_PLACE_BITS = 28  # draws that one dropout has of an image: all its views and features are within


@dataclass
class DropoutRandom:
    """The random numbers of a training step's images.

    Attributes:
        seed: of the training.
        epoch: in which an image is met once; or a tensor that holds it.
        images: ``(B,)`` integers, their positions in the training set.
    """

    seed: int
    epoch: int | Tensor
    images: Tensor

    def uniform(self, n: int, start: int) -> Tensor:
        """Draws ``start`` to ``start + n - 1`` of each image: float64 ``(B, n)`` in [0, 1), equal on every device."""
        return uniform_of_images(self.images, self.seed, self.epoch, Purpose.DROPOUT, n, start)


class ImageDropout(nn.Module):
    """Dropout by elements, scaled by 1 / (1 - p) in training, the identity in eval mode.

    Within :func:`dropout_from` an element's fate depends on seed, epoch, image, view and its place in the network: not
    on the batch, the process or what was drawn before, so that neither the number of processes nor a resume changes it.
    Elsewhere PyTorch's random state decides, as in ``nn.Dropout``.

    Args:
        p: probability that an element becomes 0.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._random: DropoutRandom | None = None
        self._place = 0  # among the dropouts of the network
        self._views = 0  # of these images that came by in this step

    def forward(self, features: Tensor) -> Tensor:
        """Features ``(views * B, ...)``, all images of a view before those of the next, to the same shape."""
        if not self.training:
            return features
        if self._random is None:
            return F.dropout(features, self.p)
        images = len(self._random.images)
        if len(features) % images:
            raise ValueError(f"{len(features)} feature maps are no whole number of views of {images} images")
        views = [self._kept(self._random, features.shape[1:]) for _ in range(len(features) // images)]
        return features * torch.cat(views).to(features.dtype) / (1 - self.p)

    def _kept(self, random: DropoutRandom, shape: torch.Size) -> Tensor:
        """Which elements of the next view stay, bool ``(B, *shape)``; channels-last, as the features are."""
        n = shape.numel()
        start = (self._place << _PLACE_BITS) + self._views * n
        self._views += 1
        kept = random.uniform(n, start) >= self.p
        return kept.view(-1, *shape[1:], shape[0]).movedim(-1, 1)

    def extra_repr(self) -> str:
        return f"p={self.p}"


@contextmanager
def dropout_from(model: nn.Module, random: DropoutRandom, continued: bool = False) -> Iterator[None]:
    """Let every dropout of a model draw from a step's random numbers.

    A network may be called several times within: its views are counted on. In eval mode (of an attack, say) nothing is
    drawn or counted.

    Args:
        model: the network.
        random: the random numbers of the batch.
        continued: whether to count the views on from the previous call, which was for the same batch: another step on
            it then draws other numbers.
    """
    dropouts = _dropouts(model)
    for place, dropout in enumerate(dropouts):
        dropout._random, dropout._place = random, place
        dropout._views = dropout._views if continued else 0
    try:
        yield
    finally:
        for dropout in dropouts:
            dropout._random = None


@contextmanager
def dropout_images(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Within :func:`dropout_from`: the forward passes in this context are of these images only, not the whole batch.

    Args:
        model: the network.
        images: ``(n,)`` integers, their positions in the training set (``batch.indices[chosen]``).
    """
    dropouts = _dropouts(model)
    before = [dropout._random for dropout in dropouts]
    for dropout in dropouts:
        dropout._random = None if dropout._random is None else replace(dropout._random, images=images)
    try:
        yield
    finally:
        for dropout, random in zip(dropouts, before, strict=True):
            dropout._random = random


def _dropouts(model: nn.Module) -> list[ImageDropout]:
    return [module for module in model.modules() if isinstance(module, ImageDropout)]
