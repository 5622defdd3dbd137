"""p2be_exp: CNNs on binary-encoded pixels, and how robust they are."""

from __future__ import annotations

import importlib
from typing import Any

from p2be_exp.system.foreign import hide_run_folder

__version__ = "0.1.0"
__all__ = [
    "benchmark",
    "load_run",
    "register_attack",
    "register_backbone",
    "register_encoding",
    "register_model",
    "register_regime",
]

_HOMES = {"benchmark": "p2be_exp.evaluation.benchmark", "load_run": "p2be_exp.runs.load"}
_HOMES |= dict.fromkeys(__all__[len(_HOMES) :], "p2be_exp.config.register")

hide_run_folder()  # before anything else is imported


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds; commands that only check their input do without.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
