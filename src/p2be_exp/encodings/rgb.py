"""RGB, the baseline: the table k / 255 with one value per level, without normalisation as in the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from p2be_exp.encodings.table import LEVELS, TableEncoding


class RGB(TableEncoding):
    """Levels scaled to [0, 1].

    The reference recipe feeds RGB images to the network without normalisation, and so does this encoding.
    """

    name = "rgb"
    binary = False
    values: Tensor

    def __init__(self) -> None:
        super().__init__(M=1)
        levels = torch.arange(LEVELS, dtype=torch.float32)
        self.register_buffer("values", (levels / 255).unsqueeze(1), persistent=False)

    def table(self) -> Tensor:
        """The column 0, 1/255, ..., 1: float ``(256, 1)``."""
        return self.values
