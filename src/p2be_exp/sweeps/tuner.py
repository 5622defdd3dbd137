"""Sweepers that look for good settings (``hydra/sweeper=optuna``): what they minimise, and what that requires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from p2be_exp.config.compose import training_config
from p2be_exp.config.schema import TrainConfig
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run

_GRID = "basic"
"""Hydra's own sweeper, which runs every job of a grid and looks at no result."""


def tuner_of(choices: Mapping[str, Any]) -> str | None:
    """The sweeper that decides by the results of its jobs; None for a grid.

    Args:
        choices: Hydra's, by group.
    """
    sweeper = choices.get("hydra/sweeper")
    return None if sweeper in (None, _GRID) else str(sweeper)


def check_tunable(tuner: str, config: TrainConfig) -> None:
    """Check that a job has a validation error, which alone may decide between settings.

    Raises:
        BadInput: it has none.
    """
    sweeper = f"hydra/sweeper={tuner}"
    if not config.regime.trains:
        raise BadInput(f"{sweeper}: minimises a validation error; regime={config.regime.name} trains nothing")
    if config.dataset.val_size == 0:
        raise BadInput(
            f"dataset.val_size=0: must be above 0 with {sweeper}, which minimises the validation error; "
            "test images decide nothing"
        )


def check_tuner(arguments: Sequence[str]) -> None:
    """The same before the first job, of the overrides that are the same for all of them.

    Args:
        arguments: overrides, ``hydra/sweeper`` among them.

    Raises:
        BadInput: see :func:`check_tunable`.
    """
    overrides = OverridesParser.create().parse_overrides(list(arguments))
    chosen = {each.key_or_group: each.value() for each in overrides if not each.is_sweep_override()}
    tuner = tuner_of(chosen)
    if tuner is None or any(each.is_sweep_override() and each.key_or_group == "dataset.val_size" for each in overrides):
        return
    fixed = [
        text
        for text, each in zip(arguments, overrides, strict=True)
        if not each.is_sweep_override() and not each.key_or_group.startswith("hydra")
    ]
    try:
        config = training_config(fixed)
    except BadInput:  # a key of an option that is searched for: the jobs say what is wrong
        return
    check_tunable(tuner, config)


def validation_error(run: Run) -> float:
    """That of the weights that a training ended with, in percent.

    Raises:
        BadInput: ``metrics.csv`` is damaged.
    """
    from p2be_exp.training.callbacks.epoch_rows import read_rows

    return float(read_rows(run)[-1]["val/error"])
