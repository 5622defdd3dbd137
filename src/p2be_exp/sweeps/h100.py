"""What trainings would take on one H100, from the operations of their networks and the rate that one reached there."""

from __future__ import annotations

import json
from collections.abc import Iterable

from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import plain
from p2be_exp.data import source_class
from p2be_exp.sweeps.operations import operations

RATES = {"augmix": 94e12, "standard": 64e12}
"""Operations a second of captured steps by regime: WRN-40-2, batch 128, bf16, P2BE and RGB alike within 2 %.

Of benchmarks/RESULTS.md, "One H100: captured steps": 8.75 and 4.28 ms a step of P2BE, 7.96 and 3.89 of RGB.
"""
_PASSES = {"augmix": 3, "standard": 1}
"""Images that a step reads for each image of its batch."""
_BACKWARD = 2
"""A way back costs about two predictions: gradients of what is read, and of weights."""


def h100_seconds(configs: Iterable[TrainConfig]) -> float | None:
    """Seconds of the trainings one after another, without their evaluations.

    Args:
        configs: resolved and checked.

    Returns:
        None where one has a regime that was not measured there, or a data set of unknown size.
    """
    total = 0.0
    counted: dict[str, int] = {}
    for config in configs:
        size = source_class(config.dataset.name).published
        if size is None or config.model.roles or config.regime.name not in RATES:
            return None
        kind = json.dumps([plain(each) for each in (config.encoding, config.backbone, config.model)] + [size])
        if kind not in counted:
            counted[kind] = operations(config, size)
        images = config.epochs * (config.limit_train or size.train - config.dataset.val_size)
        passes = _PASSES[config.regime.name] * (1 + _BACKWARD)
        total += images * passes * counted[kind] / RATES[config.regime.name]
    return total
