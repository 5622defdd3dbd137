"""A greedy search over blocks of pixels: every change is tried on the model itself, no gradient, no relaxation.

A plug-in: ``plugins=[greedy_attack] attack=greedy``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from p2be_exp import register_attack
from p2be_exp.attacks import Attack, AttackRandom, Search
from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.square import margins
from p2be_exp.config import number
from p2be_exp.config.schema import AttackConfig

_KEEP, _LOW, _HIGH, _CLEAN = range(4)
_CHANGES = (_LOW, _HIGH, _CLEAN)
_CELLS_AT_ONCE = 16  # tried one by one before the best of them are put together
_TOGETHER = (8, 4, 2)
_FORWARD_AT_ONCE = 256  # images, at least


@dataclass
class GreedyConfig(AttackConfig):
    """Keys of ``attack=greedy``."""

    queries: int = number(1)


@register_attack("greedy", GreedyConfig, for_training=True)
class GreedyLevels(Attack):
    """Coordinate descent on the margin over blocks of one colour, coarse to fine.

    A cell is one colour of one square block. The cells are visited in random order, 16 at once: each is tried with all
    its levels at the low end of the ball, at the high end, and as they are in the image. Of the changes that lower the
    margin, all together and the best 8, 4 and 2 are tried too, and what lowers the margin most is kept. Blocks start
    at a quarter of the image's shorter side and are halved down to single pixels; then the search begins again with the
    coarse ones. An image leaves when it is broken, when its queries are spent, or when a whole cycle through all sizes
    did not lower its margin.

    Args:
        eps_levels, restarts: see :class:`Attack`.
        queries: forwards of each image in one search, at most; 1 or more. Changes that change nothing cost none.
    """

    id = "greedy"

    def __init__(self, eps_levels: int, queries: int, restarts: int = 1) -> None:
        super().__init__(eps_levels, restarts)
        self.queries = queries

    @torch.no_grad()
    def search(
        self, model: nn.Module, images: Tensor, labels: Tensor, random: AttackRandom, restart: int = 0
    ) -> Search:
        """See :meth:`Attack.search`. Draws of an image: for every cycle and size of block, one for each cell."""
        trials = _Trials(model, images, labels, self.eps_levels, self.queries)
        start, left = 0, trials.left(torch.arange(len(images), device=images.device))
        while len(left):
            before = trials.margin.clone()
            for side in block_sides(*images.shape[2:]):
                cell_of = cells_of_values(images.shape[1], images.shape[2], images.shape[3], side).to(images.device)
                n_cells = int(cell_of[-1]) + 1
                order = torch.zeros(len(images), n_cells, dtype=torch.long, device=images.device)
                order[left] = random.select(left).uniform(restart, n_cells, start).argsort(1)
                start += n_cells
                for some in order.split(_CELLS_AT_ONCE, 1):
                    trials.visit(left, cell_of, some[left])
                    left = trials.left(left)
            left = left[trials.margin[left] < before[left]]
        return Search(trials.best)


class _Trials:
    """The best images so far, their margins and the queries spent, and how changes are tried on them."""

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor, eps_levels: int, queries: int) -> None:
        self.model, self.labels, self.queries = model, labels, queries
        self.options = torch.stack([images, *bounds(images, eps_levels), images], 1).flatten(2)
        self.shape = images.shape[1:]
        self.margin = margins(model, images, labels)
        self.spent = torch.ones_like(labels)

    @property
    def best(self) -> Tensor:
        """uint8 ``(B, 3, H, W)``."""
        return self.options[:, _KEEP].view(-1, *self.shape)

    def left(self, places: Tensor) -> Tensor:
        """Those of the places that are neither broken nor out of queries."""
        return places[(self.margin[places] >= 0) & (self.spent[places] < self.queries)]

    def visit(self, places: Tensor, cell_of: Tensor, cells: Tensor) -> None:
        """Try every change of some cells ``(B', G)``, and the best ones together; keep what lowers the margin most."""
        if not len(places):
            return
        lowest, change = self._single_changes(places, cell_of, cells)
        value, by_value = lowest.sort(dim=1, stable=True)
        rank = by_value.argsort(1)
        n_lower = (value < self.margin[places, None]).sum(1)
        together, size = self._together(places, cell_of, cells, change, rank, n_lower)
        alone = value[:, 0]
        size = torch.where(together < alone, size, (n_lower > 0).long())
        lower = size > 0
        changes = torch.where(rank < size[:, None], change, _KEEP)
        kept = self._candidates(places[lower], cell_of, cells[lower], changes[lower])
        self.options[places[lower], _KEEP] = kept.flatten(1)
        self.margin[places[lower]] = torch.minimum(together, alone)[lower]

    def _single_changes(self, places: Tensor, cell_of: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Each cell's lowest margin by one change, ``(B', G)``, infinite where none was tried, and that change."""
        options = self.options[places]
        differ = (options[:, _KEEP, None] != options[:, _LOW:]).float()
        counts = differ.new_zeros(*differ.shape[:2], int(cell_of[-1]) + 1).index_add_(2, cell_of, differ)
        changed = counts.gather(2, cells[:, None].expand(-1, len(_CHANGES), -1)) > 0
        wanted = changed.transpose(1, 2)  # (B', G, changes): the changes of a cell side by side
        single = torch.eye(cells.shape[1], dtype=torch.long, device=cells.device)[:, None] * torch.tensor(
            _CHANGES, device=cells.device
        ).view(1, -1, 1)
        now = self._try(places, cell_of, cells, wanted.flatten(1), single.flatten(0, 1).expand(len(places), -1, -1))
        lowest, which = now.view(wanted.shape).min(2)
        return lowest, which + _LOW

    def _together(
        self, places: Tensor, cell_of: Tensor, cells: Tensor, change: Tensor, rank: Tensor, n_lower: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The lowest margin of several of the changes that lower it, ``(B',)``, and how many these are."""
        sizes = torch.stack([n_lower, *(torch.full_like(n_lower, n) for n in _TOGETHER)], 1)
        wanted = sizes < n_lower[:, None]
        wanted[:, 0] = n_lower > 1
        changes = torch.where(rank[:, None] < sizes[:, :, None], change[:, None], _KEEP)
        lowest, which = self._try(places, cell_of, cells, wanted, changes).min(1)
        return lowest, sizes.gather(1, which[:, None]).squeeze(1)

    def _try(self, places: Tensor, cell_of: Tensor, cells: Tensor, wanted: Tensor, changes: Tensor) -> Tensor:
        """Margins ``(B', K)`` of the wanted candidates, as many as there are queries left; infinite for the others.

        Args:
            wanted: bool ``(B', K)``.
            changes: ``(B', K, G)``, what each candidate does to each of the cells.
        """
        wanted = wanted & (wanted.cumsum(1) <= self.queries - self.spent[places, None])
        self.spent[places] += wanted.sum(1)
        now = torch.full(wanted.shape, torch.inf, dtype=self.margin.dtype, device=wanted.device)
        rows, columns = wanted.nonzero(as_tuple=True)
        at_once = max(_FORWARD_AT_ONCE, len(self.labels))
        for row, column in zip(rows.split(at_once), columns.split(at_once), strict=True):
            if not len(row):  # split gives one empty part of nothing
                break
            images = self._candidates(places[row], cell_of, cells[row], changes[row, column])
            now[row, column] = margins(self.model, images, self.labels[places[row]])
        return now

    def _candidates(self, places: Tensor, cell_of: Tensor, cells: Tensor, changes: Tensor) -> Tensor:
        """Images with changes ``(N, G)`` made to cells ``(N, G)``: uint8 ``(N, 3, H, W)``."""
        plan = torch.zeros(len(places), int(cell_of[-1]) + 1, dtype=torch.long, device=places.device)
        option = plan.scatter_(1, cells, changes)[:, cell_of]
        return self.options[places].gather(1, option[:, None]).view(-1, *self.shape)


def block_sides(height: int, width: int) -> list[int]:
    """Sides of the blocks: a quarter of the shorter side, halved down to 1.

    >>> block_sides(32, 32), block_sides(28, 30)
    ([8, 4, 2, 1], [7, 3, 1])
    """
    sides = [max(min(height, width) // 4, 1)]
    while sides[-1] > 1:
        sides.append(sides[-1] // 2)
    return sides


def cells_of_values(channels: int, height: int, width: int, side: int) -> Tensor:
    """The cell of every value of an image, int64 ``(channels * height * width,)``, numbered from 0 without gaps."""
    rows, columns = torch.arange(height) // side, torch.arange(width) // side
    blocks = rows[:, None] * (columns[-1] + 1) + columns
    return (torch.arange(channels)[:, None, None] * (blocks.max() + 1) + blocks).flatten()
