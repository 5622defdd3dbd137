"""White-box attacks against random in ball: the radius that is judged, Holm over attacks, and what decides on few."""

import dataclasses

import numpy as np
import pytest

from p2be_exp.evaluation.sanity.checks import Measured
from p2be_exp.evaluation.sanity.positive_control import white_box_beats_random

UPHILL = {"secant": "ok", "relaxed": "ok"}


def row(attack, n_wrong, eps_levels=8, first=0, n=200, gradient="secant"):
    """A row in which the images ``first`` to ``first + n_wrong - 1`` are wrong."""
    wrong = np.zeros(n, dtype=bool)
    wrong[first : first + n_wrong] = True
    kind = {"random": "random", "square": "black-box", "transfer": "transfer"}.get(attack, "white-box")
    return Measured(attack, kind, eps_levels, n, n_wrong, wrong, gradient="" if kind != "white-box" else gradient)


def verdict(*rows, directions=UPHILL):
    return white_box_beats_random(rows, directions).verdict


def test_an_attack_that_climbs_outputs_may_be_no_better_than_random():
    rows = [row("random", 20), row("pgd", 100)]
    hidden = dataclasses.replace(row("outputs", 20), climbs_outputs=True)
    assert white_box_beats_random([*rows, hidden], UPHILL) == white_box_beats_random(rows, UPHILL)


def test_stronger_alike_and_weaker():
    assert verdict(row("random", 10), row("pgd", 41)) == "ok"
    # 8 against 2 give p = 0.11, 9 against 1 p = 0.021.
    assert verdict(row("random", 10), row("pgd", 16, first=2)) == "suspicious"
    assert verdict(row("random", 10), row("pgd", 18, first=1)) == "ok"
    assert verdict(row("random", 10), row("pgd", 10, first=5)) == "failed"
    assert verdict(row("random", 30), row("pgd", 10)) == "failed"
    found = white_box_beats_random([row("random", 10), row("pgd", 41)], {})
    assert found.detail == (
        "pgd 20.5 % at 8 levels against 5.0 % of random in ball (31 images wrong under the attack alone, "
        "0 under random alone), p = 9.3e-10."
    )


def test_the_worst_attack_is_told_and_holm_counts_them():
    fine = [row("random", 10), row("pgd", 18, first=1)]
    assert verdict(*fine, row("lspga", 80)) == "ok"  # p = 0.021 is the larger of two
    assert verdict(*fine, row("fgsm", 18, first=1), row("lspga", 18, first=1)) == "suspicious"  # 3 * 0.021
    found = white_box_beats_random([*fine, row("broken", 30, first=100), row("stuck", 0)], UPHILL)
    assert found.verdict == "failed"
    assert found.detail.startswith("stuck 0.0 % at 8 levels")


def test_one_radius_an_attack_that_with_the_most_images_that_differ():
    """At 2 levels the 6 images alone would be lost to Holm; at 16 levels nothing is left to compare."""
    rows = [row("random", 10, 2), row("pgd", 16, 2), row("random", 10, 8), row("pgd", 60, 8)]
    rows += [row("random", 192, 16), row("pgd", 200, 16)]
    found = white_box_beats_random(rows, {})
    assert found.verdict == "ok"
    assert "at 8 levels" in found.detail
    assert "p = 1.8e-15" in found.detail, "one test"


def test_few_images_are_decided_by_the_direction():
    rows = [row("random", 10), row("pgd", 19)]
    assert white_box_beats_random(rows, UPHILL).verdict == "ok"
    assert white_box_beats_random(rows, UPHILL).detail == (
        "At most 9 images tell pgd from random, and its gradient points uphill: there is nothing to break here."
    )
    for direction in ("failed", "suspicious"):
        assert verdict(*rows, directions={"secant": direction}) == "suspicious"
    assert verdict(*rows, directions={"secant": "not measured"}) == "not measured"
    assert verdict(*rows, directions={"smooth": "ok"}) == "not measured"
    # The other attack has a gradient of its own, and is judged by it.
    both = [*rows, row("lspga", 12, gradient="relaxed")]
    assert verdict(*both, directions={"secant": "ok", "relaxed": "failed"}) == "suspicious"
    # Those with enough images are not asked where their gradient points.
    assert verdict(row("random", 10), row("pgd", 41), directions={"secant": "failed"}) == "ok"


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row("pgd", 50)],
        [row("random", 10)],
        [row("random", 10, 8), row("pgd", 50, 4)],
        [row("random", 10), row("square", 50), row("transfer", 50)],
        [row("random", 191), row("pgd", 200)],
        [row("random", 10), row("pgd", 50, n=100)],
        [row("random", 10), dataclasses.replace(row("pgd", 50), wrong=None)],
    ],
)
def test_not_measured_without_the_two_on_the_same_images(rows):
    assert white_box_beats_random(rows, UPHILL).verdict == "not measured"


def test_random_may_break_95_percent():
    assert verdict(row("random", 190), row("pgd", 200)) == "ok"
