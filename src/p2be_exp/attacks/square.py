"""The Square attack: random search with squares at the ends of the ball, using only the model's logits."""

from __future__ import annotations

from bisect import bisect_left

import torch
from torch import Tensor, nn

from p2be_exp.attacks.attack import Attack, Search
from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.random import AttackRandom

_HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries
_DRAWS = 4  # an image and step: row, column, colours, other colours
_STEPS_DRAWN = 32  # at once; only the speed depends on it


class Square(Attack):
    """The Linf Square attack on levels.

    A search starts from vertical stripes, each column and colour at one end of the ball. Each step puts one square of
    one colour, again at the ends, somewhere into every image, and keeps it where the margin falls. Images that are
    broken leave.

    Args:
        eps_levels: see :class:`Attack`.
        queries: maximum number of forward passes per image in one search; 1 or more.
        restarts: see :class:`Attack`.
        p_init: share of the image's area that the first squares cover, above 0 and at most 1.

    Source: Andriushchenko et al. 2020, with the schedule and the p of 0.8 that AutoAttack uses (Croce & Hein 2020):
    the published code also halves p at 500 of 10,000 queries, the paper's text does not.
    """

    id = "square"

    def __init__(self, eps_levels: int, queries: int, restarts: int, p_init: float = 0.8) -> None:
        super().__init__(eps_levels, restarts)
        self.queries, self.p_init = queries, p_init

    @torch.no_grad()
    def search(
        self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom, restart: int = 0
    ) -> Search:
        """See :meth:`Attack.search`. Draws of an image: its stripes, then four a step."""
        low, high = bounds(images, self.eps_levels)
        n_stripes = 3 * images.shape[3]
        best = _stripes(low, high, random.uniform(restart, n_stripes))
        margin = margins(model, best, labels)
        asked = torch.full((len(images),), float(self.queries), device=images.device)
        asked[margin < 0] = 1
        left = (margin >= 0).nonzero().squeeze(1)
        for step in range(1, self.queries):
            if not len(left):
                break
            place = (step - 1) % _STEPS_DRAWN
            if place == 0:
                start = n_stripes + _DRAWS * (step - 1)
                draws = random.select(left).uniform(restart, _DRAWS * _STEPS_DRAWN, start)
            side = side_of_square(share_of_area(self.p_init, step, self.queries), *images.shape[2:])
            draw = draws[:, _DRAWS * place :][:, :_DRAWS]
            candidates = _with_square(best[left], low[left], high[left], side, draw)
            now = margins(model, candidates, labels[left])
            falls = now < margin[left]
            best[left[falls]], margin[left[falls]] = candidates[falls], now[falls]
            stays = margin[left] >= 0
            asked[left[~stays]] = step + 1
            left, draws = left[stays], draws[stays]
        return Search(best, found_at=asked)


def margins(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Logit of the label minus the best other one, ``(B,)`` in single precision or better: below 0 is broken."""
    logits = model(images)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    right = logits.gather(1, labels[:, None]).squeeze(1)
    return right - logits.scatter(1, labels[:, None], -torch.inf).amax(1)


def share_of_area(p_init: float, step: int, queries: int) -> float:
    """Share of the area that a square covers: halved at fixed fractions of the queries.

    >>> [share_of_area(0.8, step, 1000) for step in (1, 2, 5, 6, 999)]
    [0.8, 0.4, 0.4, 0.2, 0.0015625]
    """
    return p_init / 2 ** bisect_left(_HALVED_AT, 10_000 * step // queries)


def side_of_square(share: float, height: int, width: int) -> int:
    """Side in pixels of a square with that share of the area, from 1 to the shorter side of the image."""
    return min(max(round((share * height * width) ** 0.5), 1), height, width)


def _stripes(low: Tensor, high: Tensor, draws: Tensor) -> Tensor:
    """Every column of every colour at one end of the ball, by ``draws`` ``(B, 3W)``."""
    up = draws.view(len(low), low.shape[1], 1, -1) < 0.5
    return torch.where(up, high, low)


def _with_square(best: Tensor, low: Tensor, high: Tensor, side: int, draws: Tensor) -> Tensor:
    """``best`` with one square at the ends of the ball, by ``draws`` ``(B, 4)``.

    Where the colours drawn first change nothing, others are taken, each of the seven alike: as drawing until something
    changes, in a fixed number of draws.
    """
    batch, _, height, width = best.shape
    top, first = (draws[:, 0] * (height - side + 1)).long(), (draws[:, 1] * (width - side + 1)).long()
    inside = _span(top, side, height)[:, None, :, None] & _span(first, side, width)[:, None, None, :]
    colours = (draws[:, 2] * 8).long()
    candidates = _coloured(best, low, high, inside, colours)
    same = (candidates == best).view(batch, -1).all(1)
    others = (colours + 1 + (draws[:, 3] * 7).long()) % 8
    return _coloured(best, low, high, inside, torch.where(same, others, colours))


def _span(first: Tensor, length: int, size: int) -> Tensor:
    """Bool ``(B, size)``: the ``length`` places from ``first`` ``(B,)`` on."""
    offset = torch.arange(size, device=first.device) - first[:, None]
    return (offset >= 0) & (offset < length)


def _coloured(best: Tensor, low: Tensor, high: Tensor, inside: Tensor, colours: Tensor) -> Tensor:
    """Bit c of ``colours`` ``(B,)`` says whether colour c goes to the high end where ``inside``."""
    up = (colours[:, None] >> torch.arange(3, device=colours.device) & 1).bool()[:, :, None, None]
    return torch.where(inside, torch.where(up, high, low), best)
