"""What an evaluation will measure, made from its configuration before anything heavy."""

from __future__ import annotations

from typing import Any

from p2be_exp.attacks import Attack
from p2be_exp.config.plugins import digests_of_attack
from p2be_exp.evaluation.attack_plan import Source, check_serves, plan_attacks
from p2be_exp.evaluation.attack_source import attack_source
from p2be_exp.evaluation.corrupted.images import CorruptedImages
from p2be_exp.runs.load import load_run
from p2be_exp.system.trainer import (
    evaluation_precision,
)


def planned_attacks(config: dict[str, Any]) -> list[Attack]:
    """The attacks that a configuration asks for, with the network of the run that they transfer from.

    Raises:
        BadInput: no such run, one on another data set or image size, or an attack that the encoding has no gradient
            for.
    """
    wanted = config["attack"]
    encoding = config["encoding"]["name"]
    if "attack" in config["regime"]:
        check_serves("regime.attack", config["regime"]["attack"], encoding)
    if wanted.get("source") is None:
        return plan_attacks(wanted, encoding)
    other = attack_source(config).config()
    name = f"{other['encoding']['name']}_{other['backbone']['name']}"
    return plan_attacks(wanted, encoding, Source(name, load_run(wanted["source"], key="attack.source")))


def evaluation_settings(config: dict[str, Any], corrupted: CorruptedImages | None) -> dict[str, Any]:
    """What decides the numbers of an evaluation, apart from the weights (and the plug-ins that these need)."""
    outside = digests_of_attack(config["attack"]["name"])
    return {
        "dataset": config["dataset"]["name"],
        "split_seed": config["dataset"]["split_seed"],
        **{key: config["dataset"][key] for key in ("image_size", "resized") if key in config["dataset"]},
        "limit_test": config["limit_test"],
        "corruption": corrupted.settings() if corrupted else {"name": "none"},
        "attack": {key: value for key, value in config["attack"].items() if key != "save_images"},
        "seed": config["seed"],
        "precision": "bf16" if evaluation_precision(config["trainer"]).startswith("bf16") else "32",
        **({"plugins": outside} if outside else {}),
    }
