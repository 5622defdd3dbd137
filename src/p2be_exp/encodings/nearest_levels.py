"""Back from codes that no image has, as a network restores them, to levels."""

from __future__ import annotations

import torch
from torch import Tensor

_COLOURS = 3


@torch.no_grad()
def nearest_levels(codes: Tensor, table: Tensor) -> Tensor:
    """Of each colour at each position the level whose code is the nearest (Euclidean).

    Args:
        codes: ``(B, 3M, H, W)``, the M values of red first, as :func:`p2be_exp.encodings.encode` gives them.
        table: ``(256, M)``. Of levels with one code, as those of a bucket, it is the middle one, the lower of two.

    Returns:
        uint8 ``(B, 3, H, W)``.
    """
    length = table.shape[1]
    values = codes.unflatten(1, (_COLOURS, length)).movedim(2, -1)
    rows, row_of_level = table.double().unique(dim=0, return_inverse=True)
    # |c - t|^2 / 2 without |c|^2 / 2, which all have. In float64: neighbouring levels of RGB are 1/255 apart.
    nearest = (rows.square().sum(1) / 2 - values.double() @ rows.T).argmin(-1)
    middle = torch.stack([torch.nonzero(row_of_level == row).median() for row in range(len(rows))])
    return middle[nearest].to(torch.uint8)
