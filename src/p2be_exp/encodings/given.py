"""An encoding that is given as its table, such as the pre-processing of somebody else's network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from p2be_exp.encodings.table import LEVELS, TableEncoding
from p2be_exp.errors import BadInput


class GivenTable(TableEncoding):
    """A constant table that somebody gives.

    Levels that share a row form no bucket: an attack chooses among all levels of the ball.

    Args:
        table: the codes of all levels, ``(256, M)``: a tensor, an array or a list of lists.

    Raises:
        BadInput: another shape, no numbers, or numbers that are not finite.
    """

    name = "table"
    codes: Tensor

    def __init__(self, table: Any) -> None:
        try:
            codes = torch.as_tensor(table).detach().to(torch.float32).clone()
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput(f"encoding: {type(table).__name__}, must be a table of numbers, ({LEVELS}, M)") from error
        if codes.ndim != 2 or len(codes) != LEVELS or not codes.shape[1]:
            raise BadInput(
                f"encoding: a table of shape {tuple(codes.shape)}; must be ({LEVELS}, M), a row for each level"
            )
        if not codes.isfinite().all():
            raise BadInput("encoding: a table with values that are not finite")
        super().__init__(codes.shape[1])
        self.binary = bool(((codes == 0) | (codes == 1)).all())
        self.register_buffer("codes", codes)

    def table(self) -> Tensor:
        """The table as it was given, float ``(256, M)``."""
        return self.codes
