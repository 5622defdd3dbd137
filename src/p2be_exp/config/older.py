"""Keys that configurations of older versions lack."""

from __future__ import annotations

from typing import Any

_SINCE: dict[str, dict[str, Any]] = {
    "": {"sweeps": None, "scale": "full", "dry_run": False, "plugins": [], "strict_plugins": False},
    "preset": {
        "table_learns_from_adversarial": True,  # older runs trained without an attack
        "lambda_smooth": 1.0,
        "magnitude": 3.0,
        "view_rounding": "floor",  # the only rule at that time
    },
    "dataset": {"augmentation": "flip_crop"},
    "optim": {"schedule": "cosine", "milestones": [], "gamma": 0.1},
    "trainer": {"timeout": 600.0},
}
"""Keys added since format 1 was first written, by group, with the values that older runs used."""


def fill_in(config: dict[str, Any]) -> None:
    """Add the keys that are newer than a configuration; it is changed in place.

    A group that is missing or damaged is left unchanged: the checks of the configuration report it.
    """
    for group, keys in _SINCE.items():
        node = config if group == "" else config.get(group)
        if isinstance(node, dict):
            for key, value in keys.items():
                node.setdefault(key, list(value) if isinstance(value, list) else value)
    regime, dataset = config.get("regime"), config.get("dataset")
    if isinstance(regime, dict) and regime.get("name") == "augmix":
        regime.setdefault("view_rounding", "floor")
    if isinstance(dataset, dict) and "workers" in dataset:
        dataset.setdefault("timeout", 300.0)
