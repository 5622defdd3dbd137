"""Options that used to be part of the package and are now example plug-ins; existing runs may use them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMER = {("attack", "greedy"): "greedy_attack"}
"""The plug-in module by group and name, in the folder of ``examples/`` with the same name."""


def where_now(group: str, name: str) -> str | None:
    """One line about where a former option is now; None for an option that never was, or still is, in the package.

    >>> where_now("attack", "greedy")  # doctest: +NORMALIZE_WHITESPACE
    'attack=greedy: no longer part of the package; use the plug-in examples/greedy_attack of the repository
     (PYTHONPATH=examples/greedy_attack, plugins=[greedy_attack])'
    """
    if (module := FORMER.get((group, name))) is None:
        return None
    folder = f"examples/{module}"
    return (
        f"{group}={name}: no longer part of the package; use the plug-in {folder} of the repository "
        f"(PYTHONPATH={folder}, plugins=[{module}])"
    )


def former_options(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Group and name of the former options that a run chooses; its configuration need not have been checked."""
    regime = config.get("regime")
    attacks = [config.get("attack"), regime.get("attack") if isinstance(regime, Mapping) else None]
    names = [node.get("name") for node in attacks if isinstance(node, Mapping)]
    return [("attack", name) for name in dict.fromkeys(map(str, names)) if ("attack", name) in FORMER]
