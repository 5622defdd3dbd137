"""Keys that configurations of older versions lack, or have in another form."""

from __future__ import annotations

import copy
from typing import Any

_SINCE: dict[str, dict[str, Any]] = {
    "": {
        "sweeps": None,
        "scale": "full",
        "dry_run": False,
        "checkpoint_every": 0,
        "early_stop": 0,
        "plugins": [],
        "strict_plugins": False,
        "figures": ["png"],
        "limit_attack": None,
        "model": {"name": "plain"},
    },
    "preset": {
        "table_learns_from_adversarial": True,  # older runs trained without an attack
        "lambda_smooth": 1.0,
        "magnitude": 3.0,
        "view_rounding": "floor",  # the only rule at that time
    },
    "dataset": {"augmentation": "flip_crop"},
    "optim": {"schedule": "cosine", "milestones": [], "gamma": 0.1},
    "trainer": {
        "timeout": 600.0,
        "compile": "off",
        "deterministic": False,
        "fast_dev_run": False,
        "profile": False,
    },
}
"""Keys added since format 1 was first written, by group, with the values that older runs used."""

_OPTIM: dict[str, Any] = {"warmup_epochs": 0, "ema": None, "ema_from": 0}
"""Keys of every option of ``optim``, added since all of them were there."""

_MODEL: dict[str, dict[str, Any]] = {"fpd": {"statistics": "shared"}}
_REGIME: dict[str, dict[str, Any]] = {
    "augmix": {"view_rounding": "floor"},
    "advtrain": {"awp_gamma": 0.0, "awp_warmup": 0},
}
_ATTACK: dict[str, dict[str, Any]] = {
    "pgd": {"start": "image", "adaptive": True, "step_size": 2.0, "climb": "logits"},
    "lspga": {"loss": "ce"},
    "suite": {"also": []},
    "suite_short": {"also": []},
}

_RESIDUAL = ("resnet18", "resnet50", "resnext29_32x4d", "resnext29_4x32d", "wrn16_1", "wrn40_2")
"""The networks whose activation was ReLU before it became a key."""


def fill_in(config: dict[str, Any]) -> None:
    """Add the keys that are newer than a configuration, and nest what was flat; it is changed in place.

    A group that is missing or damaged is left unchanged: the checks of the configuration report it.
    """
    for group, keys in _SINCE.items():
        node = config if group == "" else config.get(group)
        if isinstance(node, dict) and not (group == "optim" and "name" in node):  # those with a name are newer
            for key, value in keys.items():
                node.setdefault(key, copy.deepcopy(value))
    if isinstance(optim := config.get("optim"), dict):
        for key, value in _OPTIM.items():
            optim.setdefault(key, value)
    _by_name(config)
    _fill_in_model(config.get("model"))
    regime, dataset, backbone = config.get("regime"), config.get("dataset"), config.get("backbone")
    if isinstance(regime, dict):
        for key, value in _REGIME.get(str(regime.get("name")), {}).items():
            regime.setdefault(key, value)
    for attack in (config.get("attack"), regime.get("attack") if isinstance(regime, dict) else None):
        fill_in_attack(attack)
    if isinstance(dataset, dict) and "workers" in dataset:
        dataset.setdefault("timeout", 300.0)
    if isinstance(backbone, dict) and backbone.get("name") in _RESIDUAL:
        backbone.setdefault("activation", "relu")


def _fill_in_model(model: Any) -> None:
    """Add the keys of a kind of model, to a mixture's parts as well."""
    if not isinstance(model, dict):
        return
    for key, value in _MODEL.get(str(model.get("name")), {}).items():
        model.setdefault(key, value)
    parts = model.get("parts")
    for nodes in parts.values() if isinstance(parts, dict) else ():
        if isinstance(nodes, dict):
            _fill_in_model(nodes.get("model"))


def _by_name(config: dict[str, Any]) -> None:
    """Put the keys of a logger under its name: there was one logger, whose keys stood in the group itself."""
    logger = config.get("logger")
    if isinstance(logger, dict) and isinstance(name := logger.get("name"), str):
        if logger.get("mode") == "online":
            logger["mode"] = None  # it left WANDB_MODE to decide
        config["logger"] = {name: logger}


def fill_in_attack(attack: Any) -> None:
    """Add the keys that are newer than an ``attack`` group, of a configuration or of the settings of results.

    It is changed in place; what is damaged is left unchanged.
    """
    if isinstance(attack, dict):
        for key, value in _ATTACK.get(str(attack.get("name")), {}).items():
            attack.setdefault(key, copy.deepcopy(value))
