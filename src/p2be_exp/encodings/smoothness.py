"""Smoothness of the codes of neighbouring levels: the loss that P2BE's table is trained with."""

from __future__ import annotations

from torch import Tensor


def neighbour_cosines(table: Tensor) -> Tensor:
    """Cosine between each row and the next, ``(255,)`` for ``(256, M)``, with 1e-8 added to the product of norms."""
    left, right = table[:-1], table[1:]
    norms = left.norm(dim=1) * right.norm(dim=1)
    return (left * right).sum(dim=1) / (norms + 1e-8)


def smoothness_mean(table: Tensor) -> Tensor:
    """Minus the mean cosine of neighbouring rows: the reference code's loss.

    Its gradient is the paper's divided by 255. The published values of lambda are for this form.
    """
    return -neighbour_cosines(table).mean()


def smoothness_sum(table: Tensor) -> Tensor:
    """Sum over the 255 neighbouring pairs of one minus their cosine: Kishida & Nakayama 2022, Eq. 9."""
    return (1 - neighbour_cosines(table)).sum()
