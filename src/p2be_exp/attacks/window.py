"""The window: the few choices that a value of an image has inside the ball, and their relaxed mixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor
from torch.nn import functional as F

from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.mixing import mix_rows
from p2be_exp.encodings import LEVELS, TableEncoding


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
        choices, *self._levels, self.size = _on_device(encodings, eps_levels, images.device)
        self._images = images.permute(0, 2, 3, 1)
        self._first, last = (choices[level.long()] for level in bounds(self._images, eps_levels))
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


class _Constants(NamedTuple):
    """What is the same for all images: the choice of every level, the levels of every choice, and the window's size."""

    choices: Tensor
    lowest: Tensor
    highest: Tensor
    size: int


_kept: WeakKeyDictionary[TableEncoding, dict[object, _Constants]] = WeakKeyDictionary()
"""By the first encoding: as long as it lives. Copying them at every search would make the host wait for the device."""


def _on_device(encodings: Sequence[TableEncoding], eps_levels: int, device: torch.device) -> _Constants:
    first, *others = encodings
    # Fake tensors serve the mode that they were made in, and no real search.
    key = (*map(ref, others), eps_levels, device, torch._guards.detect_fake_mode())
    kept = _kept.setdefault(first, {})
    if key not in kept:
        choices, lowest, highest, size = _on_host(encodings, eps_levels)
        kept[key] = _Constants(choices.to(device), lowest.to(device), highest.to(device), size)
    return kept[key]


def _on_host(encodings: Sequence[TableEncoding], eps_levels: int) -> _Constants:
    choices = choice_of_level(encodings)
    return _Constants(choices, *levels_of_choice(choices), most_choices(choices, eps_levels))


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
