"""Which attacks an evaluation runs, at which radii, in which order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from p2be_exp.attacks.attack import Attack
from p2be_exp.attacks.build import attack_serves, build_attack
from p2be_exp.attacks.pgd import PGD
from p2be_exp.attacks.transfer import Transfer
from p2be_exp.config.defaults import defaults_of
from p2be_exp.config.schema import AttackChoice, AttackConfig, SquareConfig, SuiteConfig, TransferConfig
from p2be_exp.config.typed import typed_group
from p2be_exp.errors import BadInput
from p2be_exp.models.surrogate import Surrogate
from p2be_exp.registry import bucketed_encodings

ONE_STEP = "pgd_ce_secant_1step"
"""A single step along the sign of the gradient: the baseline for the other attacks."""


@dataclass(frozen=True)
class Source:
    """The network that a transfer attack makes its images on.

    Attributes:
        name: encoding and backbone, for the attack's ID.
        model: images in, logits out.
    """

    name: str
    model: Any


def plan_attacks(config: AttackChoice, encoding: str, source: Source | None = None) -> list[Attack]:
    """The attacks that an ``attack`` group asks for: radius by radius, at each radius the cheapest first.

    An attack that follows a relaxation is accompanied by a random choice in the ball, which it must beat.

    Args:
        config: the group.
        encoding: name of the attacked network's encoding, which determines the available surrogate gradients.
        source: required by ``transfer``; used by ``suite`` if it is given.

    Raises:
        BadInput: an attack that does not support the encoding.
    """
    if not isinstance(config, AttackConfig):
        return []
    check_serves("attack", config, encoding)
    attacks: list[Attack] = []
    for radius in sorted(config.radii):
        if isinstance(config, SuiteConfig):
            attacks += _suite(config, radius, encoding, source)
        else:
            attacks += _single(config, radius, source)
    return attacks


def check_serves(key: str, config: AttackChoice, encoding: str) -> None:
    """Check that an attack supports an encoding.

    Args:
        key: configuration key of the attack, ``attack`` or ``regime.attack``.
        config: its group.
        encoding: name of the encoding.

    Raises:
        BadInput: the attack needs buckets and the encoding has none, or the reverse.
    """
    bucketed = bucketed_encodings()
    if config.gradient == "interpolate" and encoding not in bucketed:
        raise BadInput(
            f"{key}.gradient=interpolate: interpolates between buckets, which only {' and '.join(bucketed)} have; "
            "must be secant or smooth"
        )
    serves = attack_serves(config.name)
    if serves != "all" and (serves == "bucketed") != (encoding in bucketed):
        kind = "with buckets" if serves == "bucketed" else "without buckets"
        raise BadInput(f"{key}={config.name}: supports only encodings {kind}, not {encoding}")


def _single(config: AttackConfig, radius: int, source: Source | None) -> list[Attack]:
    if isinstance(config, TransferConfig):
        assert source is not None  # opened by the plan
        return [_transfer(source, radius, config.steps, config.restarts)]
    attack = build_attack(config, radius)
    return [_random(radius), attack] if attack.gradient == "relaxed" else [attack]


def _suite(config: SuiteConfig, radius: int, encoding: str, source: Source | None) -> list[Attack]:
    steps, restarts = config.steps, config.restarts
    one_step = PGD(radius, gradient="secant", loss="ce", steps=1, restarts=1)
    one_step.id = ONE_STEP
    # RGB's table is a straight line, on which all surrogates agree.
    others: list[Surrogate] = []
    if encoding != "rgb":
        others = ["smooth", "interpolate"] if encoding in bucketed_encodings() else ["smooth"]
    half = PGD(radius, gradient="secant", loss="margin", steps=max(steps // 2, 1), restarts=restarts)
    half.id = f"{half.id}_half"
    return [
        _random(radius),
        one_step,
        build_attack(replace(_default("lspga"), restarts=restarts), radius),  # as the reference code runs it
        *([half] if half.steps > 1 else []),  # does doubling the steps change anything?
        *(PGD(radius, gradient="secant", loss=loss, steps=steps, restarts=restarts) for loss in ("ce", "margin")),
        *(PGD(radius, gradient=each, loss="margin", steps=steps, restarts=restarts) for each in others),
        *([_transfer(source, radius, steps, restarts)] if source is not None else []),
        build_attack(SquareConfig(name="square", queries=config.queries, restarts=1), radius),
    ]


def _random(radius: int) -> Attack:
    """The baseline that the other attacks must beat."""
    return build_attack(_default("random_in_ball"), radius)


def _default(name: str) -> Any:
    """The configuration group of an attack, every key at its default."""
    return typed_group("attack", {"attack": defaults_of("attack", name)})


def _transfer(source: Source, radius: int, steps: int, restarts: int) -> Transfer:
    inner = PGD(radius, gradient="secant", loss="margin", steps=steps, restarts=1, stop_when_wrong=False)
    return Transfer(radius, source.model, source.name, inner, restarts=restarts)
