"""The table of mixtures: every error with its interval, what is not measured as missing, what is suspicious as such."""

import csv
import io
import math
from dataclasses import replace

import pytest

from mixed_points import CURVE, pair, point
from p2be_exp.report.paper.mixture_table import mixture_csv, mixture_grid
from p2be_exp.report.paper.mixtures import interval


def rows(found):
    """The cells of a grid by its rows' labels."""
    return {label: [text.text for text in texts] for _, block in found.blocks for label, texts in block}


def wilson(wrong, n, z=1.959963985):
    """Wilson's interval in percent, written out."""
    share, spread = wrong / n, 1 + z * z / n
    centre = (share + z * z / (2 * n)) / spread
    half = z / spread * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return 100 * (centre - half), 100 * (centre + half)


def test_a_row_for_each_weight_with_both_errors_and_their_intervals():
    found = rows(mixture_grid(pair(), "mixing"))
    assert list(found) == [f"alpha = {alpha}" for alpha in CURVE]
    (clean_low, clean_high), (low, high) = wilson(7, 200), wilson(96, 200)
    assert found["alpha = 0.45"] == [
        *("3.50", f"[{clean_low:.2f}, {clean_high:.2f}]"),
        *("48.00", f"[{low:.2f}, {high:.2f}]"),
    ]


def test_parts_stand_beside_the_weights_that_they_are_and_other_mixtures_behind():
    alone = {"accurate": point("accurate part alone", 8, 151), "robust": point("robust part alone", 9, None)}
    found = rows(mixture_grid(pair([point("MixedNUTS", 8, 28)], alone), "mixing"))
    assert next(iter(found)) == "accurate part alone"
    assert list(found)[-2:] == ["robust part alone", "MixedNUTS"]
    assert found["robust part alone"][2:] == ["— missing", ""]


@pytest.mark.parametrize(
    ("attack", "head"), [("suite", "worst case at 16 levels, %"), ("pgd", "under pgd at 16 levels, %")]
)
def test_a_single_attack_is_no_worst_case(attack, head):
    found = mixture_grid(pair(attack=attack), "mixing")
    assert [name for name, _ in found.head] == ["clean, %", head]
    assert any("Worst case" in note for note in found.notes) == (attack == "suite")


def test_every_radius_has_a_column():
    two = pair()
    near = [replace(each, attacked={8: each.clean, **each.attacked}) for each in two.points]
    found = mixture_grid(replace(two, points=tuple(near)), "mixing")
    assert [name for name, _ in found.head][1:] == ["worst case at 8 levels, %", "worst case at 16 levels, %"]


@pytest.mark.parametrize(("wrong", "suspicious"), [(26, False), (20, False), (8, True)])
def test_a_mixture_that_is_more_robust_than_its_robust_part_is_suspicious(wrong, suspicious):
    notes = mixture_grid(pair(curve={0.5: (6, 60), 0.9: (7, wrong), 1: (9, 26)}), "mixing").notes
    assert ["Suspicious: alpha = 0.9 at 16 levels" in note for note in notes].count(True) == suspicious


def test_as_csv():
    lines = list(csv.DictReader(io.StringIO(mixture_csv(pair(), "mixing"))))
    assert [float(line["alpha"]) for line in lines] == [alpha for alpha in CURVE for _ in "ca"]
    clean, attacked = (line for line in lines if line["alpha"] == "0.45")
    assert (clean["attack"], clean["eps_levels"], clean["n_wrong"], clean["n"]) == ("", "", "7", "200")
    assert (attacked["attack"], attacked["eps_levels"]) == ("suite_short", "16")
    assert float(attacked["error"]) == 48
    ends = [float(attacked["ci_low"]), float(attacked["ci_high"])]
    assert ends == pytest.approx(wilson(96, 200), abs=1e-6)
    assert (attacked["accurate"], attacked["robust"]) == ("sweep/accurate", "sweep/robust")


def test_no_error_has_an_interval_that_ends_at_it():
    low, high = interval(point("", 0, None).clean)
    assert low == 0
    assert high == pytest.approx(wilson(0, 200)[1], abs=1e-6)
