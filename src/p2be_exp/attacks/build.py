"""Attacks by name, from their configuration."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from p2be_exp.attacks.attack import Attack
from p2be_exp.attacks.nearest import NearestAttack
from p2be_exp.registry import built, option

if TYPE_CHECKING:
    from p2be_exp.config.schema import AttackConfig


def list_attacks() -> list[str]:
    """Names of the attacks that :func:`build_attack` takes."""
    return built("attack")


def attack_serves(name: str) -> str:
    """Which encodings an option of the ``attack`` group serves, see :class:`Attack`; suites and transfers all."""
    return option("attack", name).serves


def build_attack(config: AttackConfig, eps_levels: int, training: bool = False) -> Attack:
    """One attack at one radius.

    Args:
        config: the ``attack`` group of one of :func:`list_attacks`.
        eps_levels: radius in levels; those in ``config`` are ignored.
        training: for a regime's inner attack, which wants the strongest image and not the first wrong one.

    Raises:
        ValueError: a class whose ID does not start with its name, or cannot be part of a condition.
    """
    attack = option("attack", config.name).build(eps_levels, **_settings(config))
    if training:
        attack.stop_when_wrong = False
    if not re.fullmatch(rf"{config.name}[A-Za-z0-9_.+-]*", attack.id):
        raise ValueError(f"attack={config.name}: id={attack.id!r}: must start with the name and contain no / or space")
    return attack


def build_nearest(config: AttackConfig, reach: int) -> NearestAttack:
    """An attack that looks for the nearest wrong image.

    Args:
        config: the ``attack`` group of one with ``finds_nearest``; its ``eps_levels`` are ignored.
        reach: of the secant in levels, 1 or more.
    """
    return option("attack", config.name).build_nearest(reach, **_settings(config))


def _settings(config: AttackConfig) -> dict[str, Any]:
    return {key: value for key, value in vars(config).items() if key not in ("name", "eps_levels", "save_images")}
