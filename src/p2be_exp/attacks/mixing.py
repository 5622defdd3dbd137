"""Mixtures of a table's rows, and how they hang on the shares: what LS-PGA does for every value of an image.

On a CPU ``embedding_bag``'s own way back calls BLAS once for each place. A product of two matrices that is made at a
few places of each row alone (a sampled product) is one call for all values and takes a third of the time. The two agree
but for the order in which the M products of a place are summed, so the sampled product serves where there is one alone:
codes of a single value, RGB's.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def mix_rows(shares: Tensor, choices: Tensor, rows: Tensor) -> Tensor:
    """Sum of some rows of a table for each value, weighted by shares.

    Args:
        shares: ``(N, size)``, of the rows' dtype.
        choices: ``(N, size)``, int32 or int64: numbers of rows, no more than the table has; int32 is faster, and the
            sums are the same.
        rows: ``(R, M)``; it gets no gradient.

    Returns:
        ``(N, M)``, differentiable in shares: neither ``(N, size, M)`` nor ``(N, R)`` is ever built.
    """
    if shares.device.type == "cpu" and rows.shape[1] == 1:
        return _Mixture.apply(shares, choices, rows)
    return F.embedding_bag(choices, rows, mode="sum", per_sample_weights=shares)


class _Mixture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shares: Tensor, choices: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(choices, rows)
        return F.embedding_bag(choices, rows, mode="sum", per_sample_weights=shares)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        choices, rows = ctx.saved_tensors
        return products_at(grad, choices, rows), None, None


def products_at(left: Tensor, choices: Tensor, rows: Tensor) -> Tensor:
    """Scalar products of each row of ``left`` with some rows of a table.

    Args:
        left: ``(N, M)``.
        choices: ``(N, size)``, numbers of rows; ``size <= R``.
        rows: ``(R, M)``.

    Returns:
        ``(N, size)``. Equal rows of the table have equal products, to the bit.
    """
    if not choices.numel():
        return left.new_zeros(choices.shape)
    count, size = choices.shape
    starts = torch.arange(0, choices.numel() + 1, size, dtype=choices.dtype)
    shape = (count, len(rows))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
        places = torch.sparse_csr_tensor(
            starts, choices.reshape(-1), left.new_zeros(choices.numel()), size=shape, check_invariants=False
        )
        products = torch.sparse.sampled_addmm(places, left.contiguous(), rows.t(), beta=0.0)
    return products.values().view(choices.shape)
