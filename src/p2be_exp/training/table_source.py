"""The run whose table a training starts from. Nothing here imports torch."""

from __future__ import annotations

from p2be_exp.config.schema import TrainConfig
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run


def table_source(config: TrainConfig) -> Run | None:
    """The run in ``encoding.table_from``; None if the key is not set.

    Raises:
        BadInput: there is no such run, or its table is not a P2BE table of the same M.
    """
    source = config.encoding.table_from
    if source is None:
        return None
    run = Run.open(source, key="encoding.table_from")
    encoding = run.config().encoding
    if encoding.name != "p2be" or encoding.M != config.encoding.M:
        found = f"{encoding.name}, M={encoding.M or 1}"
        raise BadInput(f"encoding.table_from={source}: a p2be table with M={config.encoding.M} is needed, not {found}")
    return run
