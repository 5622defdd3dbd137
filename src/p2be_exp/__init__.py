"""p2be_exp: CNNs on binary-encoded pixels, and how robust they are."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from p2be_exp.system.foreign import hide_run_folder

if TYPE_CHECKING:
    from p2be_exp.attacks import list_attacks
    from p2be_exp.backbones import list_backbones
    from p2be_exp.config.register import (
        register_attack,
        register_backbone,
        register_encoding,
        register_model,
        register_regime,
    )
    from p2be_exp.data import list_datasets, load_dataset
    from p2be_exp.encodings import list_encodings
    from p2be_exp.evaluation.benchmark import benchmark
    from p2be_exp.models.robustbench import list_robustbench, load_robustbench
    from p2be_exp.regimes import list_regimes
    from p2be_exp.runs.load import load_run
    from p2be_exp.runs.places import list_models

__version__ = "0.1.0"
__all__ = [
    "benchmark",
    "list_attacks",
    "list_backbones",
    "list_datasets",
    "list_encodings",
    "list_models",
    "list_regimes",
    "list_robustbench",
    "load_dataset",
    "load_robustbench",
    "load_run",
    "register_attack",
    "register_backbone",
    "register_encoding",
    "register_model",
    "register_regime",
]

_HOMES = {
    "benchmark": "evaluation.benchmark",
    "list_attacks": "attacks",
    "list_backbones": "backbones",
    "list_datasets": "data",
    "list_encodings": "encodings",
    "list_models": "runs.places",
    "list_regimes": "regimes",
    "list_robustbench": "models.robustbench",
    "load_dataset": "data",
    "load_robustbench": "models.robustbench",
    "load_run": "runs.load",
    "register_attack": "config.register",
    "register_backbone": "config.register",
    "register_encoding": "config.register",
    "register_model": "config.register",
    "register_regime": "config.register",
}
"""The public names, each with the module that is imported when it is first asked for."""

hide_run_folder()  # before anything else is imported


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds; commands that only check their input do without.
    if name in _HOMES:
        return getattr(importlib.import_module(f"p2be_exp.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
