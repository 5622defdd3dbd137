"""The sanity panel of an evaluation: its rows as the checks want them, and the checks that ask the model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from p2be_exp.attacks.attack import Attack
from p2be_exp.attacks.pgd import PGD
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.data import ImageDataModule, ImageSet
from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.results import Results
from p2be_exp.evaluation.sanity.checks import Check, Measured, Verdict, panel
from p2be_exp.evaluation.sanity.directional import (
    Kind,
    Steps,
    gradient_points_uphill,
    gradient_reaches_the_image,
    kinds_of,
    middle_radius,
    right_places,
    steps_of,
)
from p2be_exp.evaluation.sanity.imported_rows import imported_rows
from p2be_exp.evaluation.sanity.live_checks import (
    forwards_agree,
    planted_directions_are_found,
    planted_image_is_found,
    zero_radius_is_clean,
)
from p2be_exp.evaluation.sanity.mixture import no_more_robust_than_its_part
from p2be_exp.evaluation.sanity.positive_control import white_box_beats_random
from p2be_exp.evaluation.sanity.unbounded import UNBOUNDED_IMAGES, unbounded_attack_succeeds
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.mixed import MixtureClassifier

LIVE_IMAGES = 50
"""Test images that the checks which ask the model use."""

FIRST_IMAGES = 200
"""Test images among which the positive control looks for those that the model gets right."""


def check_sanity(
    model: Classifier, data: ImageDataModule, attacks: dict[Condition, Attack], results: Results, seed: int
) -> list[dict[str, Any]]:
    """All checks of the panel on an evaluation that is complete.

    Args:
        model: that was attacked.
        data: its test images.
        attacks: by their conditions.
        results: the rows.
        seed: of the attacks' random numbers.

    Returns:
        ``name``, ``verdict`` and ``detail`` of each check.
    """
    wrong = results.wrong()
    rows = [measured(condition, attack, results, wrong) for condition, attack in attacks.items()]
    rows += imported_rows(results)
    clean = results.rows[CLEAN.id]
    clean_row = Measured("clean", "random", 0, clean.n, clean.n_wrong, wrong[CLEAN.id])
    used = list(attacks.values())
    images = data.test_set().first(FIRST_IMAGES).to(device_of(model))
    control = _positive_control(model, images, used, rows, seed)
    few = images.first(LIVE_IMAGES)
    checks = panel(rows, clean_row, [*control, *_live(model, few, used, seed), *_of_mixture(model, few, used, seed)])
    return [asdict(check) for check in checks]


def measured(condition: Condition, attack: Attack, results: Results, wrong: dict[str, Any]) -> Measured:
    """One row as the panel wants it."""
    row = results.rows[condition.id]
    return Measured(
        attack=condition.name,
        kind=attack.kind,
        eps_levels=attack.eps_levels,
        n=row.n,
        n_wrong=row.n_wrong,
        wrong=wrong[condition.id],
        family=attack.family,
        steps=attack.steps or attack.queries,
        restarts=attack.restarts,
        gradient=attack.gradient,
        zero_gradient=results.zero_gradient(condition.id),
        climbs_outputs=attack.climbs_outputs,
    )


def device_of(model: Classifier) -> torch.device:
    """Where a model is; one of somebody else's may have no parameters, but each has a table."""
    return next(model.parameters(), model.encodings[0].table()).device


def _positive_control(
    model: Classifier, images: ImageSet, attacks: list[Attack], rows: list[Measured], seed: int
) -> list[Check]:
    """Whether attacks by gradient work on this very network: on the first images that it gets right."""
    radius, kinds = middle_radius(attack.eps_levels for attack in attacks), kinds_of(model, attacks)
    if radius is None or not kinds:
        return [white_box_beats_random(rows, {})]
    right = right_places(model, images.images, images.labels)
    given = images.images[right], images.labels[right]
    steps = [
        (kind, steps_of(model, kind, *given, radius) if kind.source is None else _of_source(kind, images, radius))
        for kind in kinds
    ]
    points = {kind: gradient_points_uphill(kind, each, radius) for kind, each in steps}
    of_model: dict[str, Verdict] = {
        kind.gradient: found.verdict for kind, found in points.items() if kind.source is None
    }
    few = right[:UNBOUNDED_IMAGES]
    random = AttackRandom(seed, images.indices[few])
    return [
        gradient_reaches_the_image(steps),
        *points.values(),
        white_box_beats_random(rows, of_model),
        unbounded_attack_succeeds(model, images.images[few], images.labels[few], random),
    ]


def _of_mixture(model: Classifier, images: ImageSet, attacks: list[Attack], seed: int) -> list[Check]:
    """Of a mixture, whether it is more robust than its robust part."""
    radius = middle_radius(attack.eps_levels for attack in attacks)
    if not isinstance(model, MixtureClassifier) or radius is None:
        return []
    return [
        no_more_robust_than_its_part(model, images.images, images.labels, radius, AttackRandom(seed, images.indices))
    ]


def _of_source(kind: Kind, images: ImageSet, radius: int) -> Steps:
    """Of a transfer's source, on the images that it gets right itself."""
    assert kind.source is not None  # whoever asks has looked
    given = images.to(device_of(kind.source))
    right = right_places(kind.source, given.images, given.labels)
    return steps_of(kind.source, kind, given.images[right], given.labels[right], radius)


def _live(model: Classifier, first: ImageSet, attacks: list[Attack], seed: int) -> list[Check]:
    """The checks that ask the model about some images and planted networks."""
    images, labels, indices = first.images, first.labels, first.indices
    random = AttackRandom(seed, indices)
    largest = max(attack.eps_levels for attack in attacks)
    still = PGD(0, gradient="secant", loss="margin", steps=2, restarts=1)
    checks = [forwards_agree(model, images), zero_radius_is_clean(still, model, images, labels, random)]
    if largest > 0:
        checks.append(planted_image_is_found(model, images, labels, largest))
        followed = [each for each in attacks if each.climbs and each.eps_levels == largest]
        one = torch.zeros(1, dtype=torch.int64, device=images.device)
        for encoding in model.encodings:
            checks += planted_directions_are_found(followed, encoding, images[0], random.select(one))
    return checks
