"""The window: the few choices that a value of an image has inside the ball, and their relaxed mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.mixing import mix_rows
from p2be_exp.encodings import LEVELS, TableEncoding
from p2be_exp.system.device_constants import kept_on_device


class Window:
    """The choices of every value (pixel and colour) of some images.

    A choice is a level or, where levels share rows by construction in every encoding that reads them, a bucket of these
    levels: any that has a level inside the ball. The choices of a value follow each other, so it has a first one and
    ``size`` places, of which those past its last choice are closed. Tensors over places are ``(B, H, W, 3, size)``: the
    place is last, the colour next to it, so that a mixture of rows is written in channels-last order.

    Args:
        encodings: one or several, which together decide what a choice is.
        images: uint8 ``(B, 3, H, W)``.
        eps_levels: radius of the ball in levels.

    Attributes:
        size: places of a window: the most choices that any level has.
        open: bool ``(B, H, W, 3, size)``, which places hold a choice. The first always does.
    """

    def __init__(self, encodings: Sequence[TableEncoding], images: Tensor, eps_levels: int) -> None:
        choices = choices_of(encodings, eps_levels)
        self.size = choices.most
        self._levels = [_on_device(levels, images.device) for levels in (choices.lowest, choices.highest)]
        self._images = images.permute(0, 2, 3, 1)
        of_level = _on_device(choices.of_level, images.device)
        self._first, last = (of_level[level.long()] for level in bounds(self._images, eps_levels))
        places = torch.arange(self.size, device=images.device)
        self.open = places <= (last - self._first).unsqueeze(-1)
        # A closed place repeats the last choice; its share of a mixture is 0.
        each = torch.minimum(self._first.unsqueeze(-1) + places, last.unsqueeze(-1)).flatten(0, 3)
        self._choices = each.to(torch.int32 if each.numel() < 2**31 else torch.int64).contiguous()

    def rows(self, table: Tensor) -> Tensor:
        """The code of every choice, ``(choices, M)``, from one of the encodings' table, ``(256, M)``."""
        return table[self._levels[0]]

    def mix(self, shares: Tensor, rows: Tensor) -> Tensor:
        """Sum of the choices' rows by their shares: codes ``(B, 3M, H, W)``, channels-last, differentiable in shares.

        One weighted look-up: neither the rows of the window nor shares of all levels are ever built.

        Args:
            shares: ``(B, H, W, 3, size)``, 0 at closed places.
            rows: of :meth:`rows`.
        """
        batch, height, width = shares.shape[:3]
        codes = mix_rows(shares.flatten(0, 3), self._choices, rows)
        return codes.view(batch, height, width, 3 * rows.shape[1]).permute(0, 3, 1, 2)

    def realise(self, places: Tensor) -> Tensor:
        """The images, uint8 ``(B, 3, H, W)``, with the choices at some open places ``(B, H, W, 3)``.

        Of the levels of a bucket it is the one nearest to the original, which lies inside the ball if any of them does.
        """
        choice = self._first + places
        lowest, highest = (level[choice] for level in self._levels)
        nearest = torch.clamp(self._images.long(), lowest, highest)
        return nearest.to(torch.uint8).permute(0, 3, 1, 2).contiguous()


class Choices(NamedTuple):
    """What a window is made of, in plain numbers: the choice of each level, and of each choice its levels.

    Attributes:
        of_level: 256 numbers, see :func:`choice_of_level`.
        lowest, highest: level of each choice.
        most: places of a window, see :func:`most_choices`.
    """

    of_level: tuple[int, ...]
    lowest: tuple[int, ...]
    highest: tuple[int, ...]
    most: int


def choices_of(encodings: Sequence[TableEncoding], eps_levels: int) -> Choices:
    """The choices of encodings that are read together, and how many of them a ball of this radius touches."""
    choices = choice_of_level(encodings)
    lowest, highest = (tuple(level.tolist()) for level in levels_of_choice(choices))
    return Choices(tuple(choices.tolist()), lowest, highest, most_choices(choices, eps_levels))


@kept_on_device
def _on_device(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Constants of windows, int64: at every search the same, so that none of them waits for a copy."""
    return torch.tensor(numbers, device=device)


def choice_of_level(encodings: Sequence[TableEncoding]) -> Tensor:
    """The choice that each level belongs to, int64 ``(256,)``, from 0 without gaps.

    Of one encoding its bucket, or the level itself; of several the common refinement: two levels are one choice where
    every encoding has them in one bucket. Rows that a learned table happens to share stay choices of their own, as in
    the reference implementation.

    >>> from p2be_exp.encodings import Thermometer
    >>> int(choice_of_level([Thermometer(2), Thermometer(3)]).max())  # from levels 0, 85, 128, 170 on
    3
    """
    begins = torch.zeros(LEVELS - 1, dtype=torch.bool)  # at each level but the first, whether it is another choice
    for encoding in encodings:
        buckets = encoding.buckets()
        begins |= torch.ones_like(begins) if buckets is None else buckets.cpu().diff() != 0
    return F.pad(begins.cumsum(0), (1, 0))


def levels_of_choice(choices: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and the highest level of every choice, from the choice of every level."""
    highest = torch.bincount(choices).cumsum(0) - 1
    return F.pad(highest[:-1] + 1, (1, 0)), highest


def most_choices(choices: Tensor, eps_levels: int) -> int:
    """The most choices that the ball around any level touches.

    >>> from p2be_exp.encodings.buckets import bucket_of_level
    >>> most_choices(torch.arange(256), 8), most_choices(bucket_of_level(64), 8), most_choices(bucket_of_level(16), 8)
    (17, 5, 2)
    """
    low, high = bounds(torch.arange(LEVELS, dtype=torch.uint8), eps_levels)
    return int((choices[high.long()] - choices[low.long()]).max()) + 1
