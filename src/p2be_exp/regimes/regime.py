"""What a regime is: how a batch of images becomes loss terms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from p2be_exp.augment import Augmentation
from p2be_exp.data import Batch
from p2be_exp.randomness.draws import ImageRandom, Purpose


@dataclass(frozen=True)
class RegimeLoss:
    """The loss terms of one batch.

    Attributes:
        terms: means over the batch's images, by name, before their weights.
        weights: factor of each term in the loss; 1 where it is not named.
        logits: predictions for the clean view, ``(B, K)``, for the training error.
    """

    terms: dict[str, Tensor]
    weights: dict[str, float]
    logits: Tensor

    def total(self) -> Tensor:
        """The weighted sum of the terms."""
        return torch.stack([self.weights.get(name, 1.0) * term for name, term in self.terms.items()]).sum()


class Regime(ABC):
    """How a batch becomes a loss.

    Args:
        seed: of every random choice; with the epoch and an image's index it decides all that happens to the image.
        augment: the data set's geometric augmentation.
    """

    name: str

    def __init__(self, seed: int, augment: Augmentation) -> None:
        self.seed = seed
        self.augment = augment

    def clean_view(self, batch: Batch, epoch: int) -> Tensor:
        """The images of a batch after the geometric augmentation: uint8 ``(B, 3, H, W)``."""
        return self.augment(batch.images, ImageRandom(self.seed, epoch, batch.indices, Purpose.FLIP_CROP))

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, epoch: int) -> RegimeLoss:
        """Loss terms of a batch in an epoch; the smoothness of the table is added by the training module."""

    def after_backward(self) -> None:  # noqa: B027  # most regimes have nothing to do
        """Called after each backward pass, before gradients are clipped and the optimizer steps."""
