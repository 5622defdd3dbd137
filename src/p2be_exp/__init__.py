"""p2be_exp: CNNs on binary-encoded pixels, and how robust they are."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["load_run"]


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds; commands that only check their input do without.
    if name == "load_run":
        from p2be_exp.runs import load_run

        return load_run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
