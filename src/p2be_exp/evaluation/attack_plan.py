"""Which attacks an evaluation runs, at which radii, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast, get_args

from p2be_exp.attacks.attack import Attack
from p2be_exp.attacks.build import attack_serves, build_attack, build_nearest
from p2be_exp.attacks.nearest import NearestAttack
from p2be_exp.attacks.pgd import PGD, Loss
from p2be_exp.attacks.transfer import Transfer
from p2be_exp.config.defaults import defaults_of
from p2be_exp.config.joined import joined
from p2be_exp.config.schema import AttackChoice, AttackConfig, SquareConfig, SuiteConfig, TransferConfig
from p2be_exp.config.typed import typed_group
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.sanity.directional import middle_radius
from p2be_exp.models.surrogate import Surrogate
from p2be_exp.registry import bucketed_encodings

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier

NO_PARTS: Mapping[str, Sequence[str]] = MappingProxyType({})
"""Of a model that is no mixture."""

ONE_STEP = "pgd_ce_secant_1step"
"""A single step along the sign of the gradient: the baseline for the other attacks."""


@dataclass(frozen=True)
class Source:
    """The network that a transfer attack makes its images on.

    Attributes:
        name: encoding and backbone, or the role of a part, for the attack's ID.
        model: images in, logits out; or the name of a part of the attacked model.
    """

    name: str
    model: Any


def plan_attacks(
    config: AttackChoice,
    encodings: Sequence[str],
    source: Source | None = None,
    parts: Mapping[str, Sequence[str]] = NO_PARTS,
    gated: bool = False,
    hides_logits: bool = False,
) -> list[Attack]:
    """The attacks that an ``attack`` group asks for: radius by radius, at each radius the cheapest first.

    Those without a radius are :func:`plan_nearest`'s. An attack that follows a relaxation is accompanied by a random
    choice in the ball, which it must beat.

    Args:
        config: the group.
        encodings: names of the attacked network's encodings, which determine the available surrogate gradients.
        source: required by ``transfer``; used by ``suite`` if it is given.
        parts: names of the encodings of each part of a mixture, by the part's name. A suite transfers from each as
            well: where a mixture hides their gradients, images that fool a part may still fool it.
        gated: whether the model has a gate, which a suite then climbs as well.
        hides_logits: whether the outputs of the model hide its logits (behind a tanh): a suite then climbs both, along
            the margin, so that the difference is what they hide.

    Raises:
        BadInput: an attack that does not support an encoding.
    """
    if not isinstance(config, AttackConfig):
        return []
    check_serves("attack", config, encodings, parts)
    for each in joined(config):
        check_serves("attack.also", each, encodings, parts)
    attacks: list[Attack] = []
    if config.finds_nearest:
        return attacks
    for radius in sorted(config.radii):
        if isinstance(config, SuiteConfig):
            attacks += _suite(config, radius, encodings, source, parts, gated, hides_logits)
        else:
            attacks += _single(config, radius, source)
    return attacks


def plan_nearest(config: AttackChoice) -> list[NearestAttack]:
    """The attacks of an ``attack`` group that look for the nearest wrong image; each is run once.

    Their secants reach as far as the middle one of the radii, see :func:`middle_radius`.

    Args:
        config: the group; what :func:`plan_attacks` refuses is taken as checked.
    """
    if not isinstance(config, AttackConfig):
        return []
    reach = middle_radius(config.radii) or 1
    return [build_nearest(each, reach) for each in (config, *joined(config)) if each.finds_nearest]


def gradient_name(
    attack: Attack | NearestAttack, encodings: Sequence[str], parts: Mapping[str, Sequence[str]] = NO_PARTS
) -> str:
    """How the rows of an attack name its gradient.

    ``exact`` where an attack follows a surrogate through RGB alone, whose table is a line; else the attack's own word.
    A transfer names its source's gradient.

    Args:
        attack: of a plan.
        encodings: names of the attacked network's encodings.
        parts: of a mixture, those of each part, by its name.
    """
    if isinstance(attack, Transfer):
        encodings = _encodings_of(attack, parts)
    surrogate = attack.gradient in get_args(Surrogate)
    return "exact" if surrogate and set(encodings) == {"rgb"} else attack.gradient


def _encodings_of(attack: Transfer, parts: Mapping[str, Sequence[str]]) -> Sequence[str]:
    if isinstance(attack.source, str):
        return parts[attack.source]
    return [each.name for each in cast("Classifier", attack.source).encodings]


def suite_of(config: AttackChoice) -> str | None:
    """The name of the suite that an ``attack`` group is, which alone has a worst case; None of a single attack."""
    return config.name if isinstance(config, SuiteConfig) else None


def check_serves(
    key: str, config: AttackChoice, encodings: Sequence[str], parts: Mapping[str, Sequence[str]] = NO_PARTS
) -> None:
    """Check that an attack supports the encodings of a network.

    Args:
        key: configuration key of the attack, ``attack`` or ``regime.attack``.
        config: its group.
        encodings: their names.
        parts: those of each part of a mixture, by its name, for the message.

    Raises:
        BadInput: the attack needs buckets and an encoding has none, or the reverse.
    """
    bucketed = bucketed_encodings()
    if config.gradient == "interpolate" and not _interpolates(encodings):
        raise BadInput(
            f"{key}.gradient=interpolate: interpolates between buckets, which only {' and '.join(bucketed)} have; "
            f"must be secant or smooth{_whose(parts, [each for each in encodings if each not in (*bucketed, 'rgb')])}"
        )
    serves = attack_serves(config.name)
    others = [each for each in encodings if serves != "all" and (serves == "bucketed") != (each in bucketed)]
    if others:
        kind = "with buckets" if serves == "bucketed" else "without buckets"
        raise BadInput(f"{key}={config.name}: supports only encodings {kind}, not {others[0]}{_whose(parts, others)}")


def _whose(parts: Mapping[str, Sequence[str]], unserved: Sequence[str]) -> str:
    """Which part of a mixture has one of some encodings; "" where there are none, or no parts."""
    roles = [role for role, names in parts.items() if set(names) & set(unserved)]
    return f" (the {roles[0]} part)" if roles else ""


def _interpolates(encodings: Sequence[str]) -> bool:
    """Whether there is a gradient that runs between buckets; of RGB, which is a line, every gradient is one."""
    bucketed = bucketed_encodings()
    return all(each in bucketed or each == "rgb" for each in encodings) and any(each in bucketed for each in encodings)


def _single(config: AttackConfig, radius: int, source: Source | None) -> list[Attack]:
    if isinstance(config, TransferConfig):
        assert source is not None  # opened by the plan
        return [_transfer(source, radius, config.steps, config.restarts)]
    attack = build_attack(config, radius)
    return [_random(radius), attack] if attack.gradient == "relaxed" else [attack]


def _suite(
    config: SuiteConfig,
    radius: int,
    encodings: Sequence[str],
    source: Source | None,
    parts: Mapping[str, Sequence[str]],
    gated: bool,
    hides_logits: bool,
) -> list[Attack]:
    steps, restarts = config.steps, config.restarts
    one_step = PGD(radius, gradient="secant", loss="ce", steps=1, restarts=1)
    one_step.id = ONE_STEP
    # RGB's table is a straight line, on which all surrogates agree.
    others: list[Surrogate] = []
    if set(encodings) != {"rgb"}:
        others = ["smooth", "interpolate"] if _interpolates(encodings) else ["smooth"]
    losses: tuple[Loss, ...] = ("ce", "margin", "mix") if gated else ("ce", "margin")
    first: Surrogate = "secant"
    hidden = [PGD(radius, first, "margin", steps, restarts, climb="outputs")] if hides_logits else []
    lspga = _default("lspga")
    return [
        _random(radius),
        one_step,
        build_attack(replace(lspga, restarts=restarts), radius),  # as the reference code runs it
        build_attack(replace(lspga, loss="margin", restarts=restarts * max(steps // lspga.steps, 1)), radius),
        *(PGD(radius, gradient=first, loss=loss, steps=steps, restarts=restarts) for loss in losses),
        *hidden,
        *(PGD(radius, gradient=each, loss="margin", steps=steps, restarts=restarts) for each in others),
        *([_transfer(source, radius, steps, restarts)] if source is not None else []),
        *(_transfer(Source(part, part), radius, steps, restarts) for part in parts),
        *(_relaxed_transfer(part, radius, restarts) for part, names in parts.items() if set(names) != {"rgb"}),
        build_attack(SquareConfig(name="square", queries=config.queries, restarts=1), radius),
        *(build_attack(each, radius) for each in joined(config) if not each.finds_nearest),
    ]


def default_attack(name: str, radius: int) -> Attack:
    """An attack with every key but the radius at its default."""
    return build_attack(_default(name), radius)


def _random(radius: int) -> Attack:
    """The baseline that the other attacks must beat."""
    return default_attack("random_in_ball", radius)


def _default(name: str) -> Any:
    """The configuration group of an attack, every key at its default."""
    return typed_group("attack", {"attack": defaults_of("attack", name)})


def _relaxed_transfer(part: str, radius: int, restarts: int) -> Transfer:
    """From a part that looks codes up, by LS-PGA, to which such a part may fall and not to a surrogate."""
    inner = build_attack(replace(_default("lspga"), restarts=1), radius)
    return Transfer(radius, part, f"{part}_lspga", inner, restarts=restarts)


def _transfer(source: Source, radius: int, steps: int, restarts: int) -> Transfer:
    inner = PGD(radius, gradient="secant", loss="margin", steps=steps, restarts=1, stop_when_wrong=False)
    return Transfer(radius, source.model, source.name, inner, restarts=restarts)
