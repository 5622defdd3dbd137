"""The table of another run, which a training starts from and keeps fixed."""

from __future__ import annotations

from typing import Any

from p2be_exp.config.schema import TrainConfig
from p2be_exp.errors import BadInput
from p2be_exp.runs.load import load_checkpoint
from p2be_exp.training.table_source import table_source


def fixed_table(config: TrainConfig) -> Any:
    """The latent table of the run in ``encoding.table_from``, ``(256, M)``; None if the key is not set.

    Raises:
        BadInput: there is no such run, or its table is not a P2BE table of the same M.
    """
    run = table_source(config)
    if run is None:
        return None
    table = load_checkpoint(run, key="encoding.table_from")["state_dict"].get("model.encoding.weight")
    if getattr(table, "shape", None) != (256, config.encoding.M):
        raise BadInput(f"encoding.table_from={run.path}: checkpoints/last.ckpt does not fit config.yaml")
    return table
