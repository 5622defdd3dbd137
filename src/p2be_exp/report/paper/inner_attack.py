"""The attack that a regime trains against, in a few words."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from p2be_exp.config import compose_config, to_plain
from p2be_exp.config.folders import options_of
from p2be_exp.errors import BadInput
from p2be_exp.report.comparable import flat
from p2be_exp.report.paper.keys import format_value

_PREFIX = "regime.attack."


def inner_attack(here: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[str, ...]:
    """How a regime's attack departs from its usual one.

    Args:
        here: keys of a configuration with their values, ``regime.attack.steps``.
        expected: those of the regime without overrides.

    Returns:
        The option of ``attack@regime.attack`` where it is not the usual one, and what departs from the nearer of the
        two; empty where nothing does.
    """
    mine, usual = _of_attack(here), _of_attack(expected)
    if mine == usual or not mine:
        return ()
    options = {"": usual, **{name: keys for name in options_of("attack") if (keys := _option(name))}}
    changed = {
        name: {key: value for key, value in mine.items() if keys.get(key) != value}
        for name, keys in options.items()
        if keys.get("name") == mine.get("name")
    }
    if not changed:  # an attack of the user's own
        changed = {str(mine.get("name")): {key: value for key, value in mine.items() if key != "name"}}
    name = min(changed, key=lambda each: (len(changed[each]), each))
    texts = [f"attack {name}"] if name else []
    return (*texts, *(f"attack {key} = {format_value(value)}" for key, value in sorted(changed[name].items())))


def _of_attack(keys: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(_PREFIX): value for key, value in keys.items() if key.startswith(_PREFIX)}


@functools.cache
def _option(name: str) -> dict[str, Any]:
    """An option of the group ``attack``; empty where it cannot be composed by itself."""
    try:
        return dict(flat(to_plain(compose_config("train", [f"attack={name}"]))["attack"]))
    except BadInput:
        return {}
