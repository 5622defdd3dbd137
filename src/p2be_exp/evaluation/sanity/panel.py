"""The sanity panel of an evaluation: its rows as the checks want them, and the checks that ask the model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from p2be_exp.attacks.attack import Attack
from p2be_exp.attacks.pgd import PGD
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.data import ImageDataModule
from p2be_exp.evaluation.results import CLEAN, Condition, Results
from p2be_exp.evaluation.sanity.checks import Check, Measured, panel
from p2be_exp.evaluation.sanity.imported_rows import imported_rows
from p2be_exp.evaluation.sanity.live_checks import (
    forwards_agree,
    planted_direction_is_found,
    planted_image_is_found,
    zero_radius_is_clean,
)
from p2be_exp.models.classifier import Classifier

LIVE_IMAGES = 50
"""Test images that the checks which ask the model use."""


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
    checks = panel(rows, clean_row, _live(model, data, list(attacks.values()), seed))
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
    )


def _live(model: Classifier, data: ImageDataModule, attacks: list[Attack], seed: int) -> list[Check]:
    """The checks that ask the model, on the first test images, where the model is."""
    device = next(model.parameters()).device
    first = data.test_set().first(LIVE_IMAGES).to(device)
    images, labels, indices = first.images, first.labels, first.indices
    random = AttackRandom(seed, indices)
    largest = max(attack.eps_levels for attack in attacks)
    still = PGD(0, gradient="secant", loss="margin", steps=2, restarts=1)
    checks = [forwards_agree(model, images), zero_radius_is_clean(still, model, images, labels, random)]
    if largest > 0:
        checks.append(planted_image_is_found(model, images, labels, largest))
        followed = [each for each in attacks if each.climbs and each.eps_levels == largest]
        one = torch.zeros(1, dtype=torch.int64, device=device)
        checks += [
            planted_direction_is_found(each, encoding, images[0], random.select(one))
            for each in followed
            for encoding in model.encodings
        ]
    return checks
