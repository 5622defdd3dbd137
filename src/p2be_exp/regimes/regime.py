"""What a regime is: how a batch of images becomes loss terms, for one optimizer step or several."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from p2be_exp.augment import Augmentation
from p2be_exp.data import Batch
from p2be_exp.randomness.draws import ImageRandom, Purpose

Epoch: TypeAlias = int | Tensor
"""From 0; a number, or an int64 tensor of no dimension on the batch's device that holds it."""


@dataclass(frozen=True)
class When:
    """The position of a batch in the training. It is the same in every process and after a resume.

    Attributes:
        epoch: from 0. A tensor that holds it where a step is captured: see :attr:`Regime.capturable`.
        step: number of batches before this one since the start of the training; 0 in a captured step.
    """

    epoch: Epoch
    step: int


@dataclass(frozen=True)
class RegimeLoss:
    """The loss terms of one optimizer step.

    Attributes:
        terms: means over images, by name, before their weights. A later step of a batch uses names of its own.
        weights: factor of each term in the loss; 1 where it is not named.
        logits: predictions for the clean view, ``(B, K)``, for the training error; used from the first step only.
        more: whether another step on the same batch follows; must be equal on all ranks.
        count: number of this rank's images that the terms are means of, their weight in the mean over all ranks: 0 on
            a rank that only takes part. None means all images of the batch.
    """

    terms: dict[str, Tensor]
    weights: dict[str, float]
    logits: Tensor
    more: bool = False
    count: int | None = None

    def total(self) -> Tensor:
        """The weighted sum of the terms."""
        return torch.stack([self.weights.get(name, 1.0) * term for name, term in self.terms.items()]).sum()


class Regime:
    """How a batch becomes a loss. A subclass defines :meth:`loss`, or :meth:`steps` for several steps per batch.

    Args:
        seed: of every random choice; with the epoch and an image's index it decides all that happens to the image.
        augment: the data set's geometric augmentation.

    Attributes:
        several_steps: whether :meth:`steps` may yield several losses; it is refused with ``optim.accumulate`` above 1.
        capturable: whether a batch of any epoch takes the same operators in the same order, and reads no value back,
            so that its step can be one CUDA graph (:mod:`p2be_exp.training.captured_step`). The epoch is then a tensor,
            and nothing is asked of the step's number.

    Raises:
        TypeError: the subclass defines neither :meth:`loss` nor :meth:`steps`.
    """

    name: str
    several_steps: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not cls.__module__.startswith("p2be_exp.") and "capturable" not in vars(cls):
            # What another class says of itself is no word for a plug-in.
            cls.capturable = Regime.capturable  # type: ignore[method-assign]

    @property
    def capturable(self) -> bool:
        """See the class; False unless a regime says otherwise."""
        return False

    def __init__(self, seed: int, augment: Augmentation) -> None:
        if type(self).loss is Regime.loss and type(self).steps is Regime.steps:
            raise TypeError(f"{type(self).__name__} must define loss or steps")
        self.seed = seed
        self.augment = augment

    def clean_view(self, batch: Batch, epoch: Epoch) -> Tensor:
        """The images of a batch after the geometric augmentation: uint8 ``(B, 3, H, W)``."""
        return self.augment(batch.images, ImageRandom(self.seed, epoch, batch.indices, Purpose.FLIP_CROP))

    def loss(self, model: nn.Module, batch: Batch, epoch: Epoch) -> RegimeLoss:
        """The loss of a regime with one step per batch; the training module adds the smoothness of the table."""
        raise NotImplementedError

    def steps(self, model: nn.Module, batch: Batch, when: When) -> Iterator[RegimeLoss]:
        """One loss for each optimizer step on a batch: every step is made while the generator waits in its ``yield``.

        What follows a ``yield`` therefore sees the new weights. The generator starts anew with every batch and is
        dropped after a loss without ``more``; it must not hold a context (``torch.no_grad``, ``autocast``) open across
        a ``yield``. With several processes each loss must depend on every parameter that learns, on every rank.

        The first loss gets the smoothness of the table and gives the training error; means over ranks are by
        :attr:`RegimeLoss.count`. A forward pass in train mode of some images of the batch only belongs inside
        :func:`p2be_exp.backbones.dropout.dropout_images`.
        """
        yield self.loss(model, batch, when.epoch)

    def after_backward(self) -> None:
        """Called after each backward pass, before gradients are clipped and the optimizer steps."""
