"""Options that were part of the package and are examples of plug-ins now; runs that used them are still around."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMER = {("attack", "greedy"): "greedy_attack"}
"""By group and name: the module of the plug-in, in the folder of ``examples/`` that bears its name."""


def where_now(group: str, name: str) -> str | None:
    """One line that says where an option has gone; None for one that was never in the package, or still is.

    >>> where_now("attack", "greedy")  # doctest: +NORMALIZE_WHITESPACE
    'attack=greedy: no longer part of the package; it is the plug-in examples/greedy_attack of the repository
     (PYTHONPATH=examples/greedy_attack, plugins=[greedy_attack])'
    """
    if (module := FORMER.get((group, name))) is None:
        return None
    folder = f"examples/{module}"
    return (
        f"{group}={name}: no longer part of the package; it is the plug-in {folder} of the repository "
        f"(PYTHONPATH={folder}, plugins=[{module}])"
    )


def former_options(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Group and name of the former options that a run chooses; its configuration need not have been checked."""
    regime = config.get("regime")
    attacks = [config.get("attack"), regime.get("attack") if isinstance(regime, Mapping) else None]
    names = [node.get("name") for node in attacks if isinstance(node, Mapping)]
    return [("attack", name) for name in dict.fromkeys(map(str, names)) if ("attack", name) in FORMER]
