"""What configurations of older versions lack."""

from __future__ import annotations

from typing import Any


def fill_in(config: dict[str, Any]) -> None:
    """Give a configuration of an older version the keys that have come since, with the values that it was run with."""
    preset = config["preset"]
    preset.setdefault("table_learns_from_adversarial", True)  # older runs train without an attack
    preset.setdefault("lambda_smooth", 1.0)
    preset.setdefault("magnitude", 3.0)
    preset.setdefault("view_rounding", "floor")  # one rule for all encodings then
    if config["regime"]["name"] == "augmix":
        config["regime"].setdefault("view_rounding", "floor")
    config["dataset"].setdefault("augmentation", "flip_crop")
    if "workers" in config["dataset"]:
        config["dataset"].setdefault("timeout", 300.0)
    config["optim"].setdefault("schedule", "cosine")
    config["optim"].setdefault("milestones", [])
    config["optim"].setdefault("gamma", 0.1)
    config["trainer"].setdefault("timeout", 600.0)
    since = {"sweeps": None, "scale": "full", "dry_run": False, "plugins": [], "strict_plugins": False}
    for key, value in since.items():
        config.setdefault(key, value)
