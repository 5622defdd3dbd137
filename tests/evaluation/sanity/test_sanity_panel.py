"""The sanity panel: every check with rows made up for each verdict, its thresholds, and what it says."""

import dataclasses
import json

import numpy as np
import pytest

from p2be_exp.evaluation.sanity.checks import (
    Check,
    Measured,
    accuracy_goes_to_zero,
    black_box_is_weaker_than_white_box,
    error_grows_with_the_radius,
    gradients_are_not_zero,
    more_work_changes_little,
    no_image_is_repaired,
    one_step_is_weaker_than_many,
    outputs_hide_the_way,
    panel,
    random_is_weaker_than_one_step,
    relaxed_is_stronger_than_random,
)

KINDS = {
    "random": {"kind": "random"},
    "fgsm": {"kind": "white-box", "steps": 1, "gradient": "secant"},
    "pgd": {"kind": "white-box", "steps": 40, "gradient": "secant"},
    "square": {"kind": "black-box", "steps": 1000},
    "transfer": {"kind": "transfer", "steps": 40},
    "lspga": {"kind": "white-box", "steps": 7, "gradient": "relaxed"},
}


def row(attack, n_wrong, eps_levels=8, n=200, first=0, **more):
    """A row in which the images ``first`` to ``first + n_wrong - 1`` are wrong."""
    wrong = np.zeros(n, dtype=bool)
    wrong[first : first + n_wrong] = True
    settings = {**KINDS[attack.split("/")[0]], **more}
    return Measured(attack, eps_levels=eps_levels, n=n, n_wrong=n_wrong, wrong=wrong, **settings)


def unknown(measured):
    """The same row without which images are wrong."""
    return dataclasses.replace(measured, wrong=None)


WEAKER = [
    (random_is_weaker_than_one_step, "random", "fgsm"),
    (one_step_is_weaker_than_many, "fgsm", "pgd"),
    (black_box_is_weaker_than_white_box, "square", "pgd"),
    (black_box_is_weaker_than_white_box, "transfer", "fgsm"),
]


@pytest.mark.parametrize(("check", "weaker", "stronger"), WEAKER)
def test_no_stronger(check, weaker, stronger):
    assert check([row(weaker, 50), row(stronger, 50)]).verdict == "ok"
    assert check([row(weaker, 20), row(stronger, 150)]).verdict == "ok"
    # Of nested sets of wrong images only the difference counts: 5 images alone give p = 0.0625, 6 give 0.03125.
    assert check([row(weaker, 55), row(stronger, 50)]).verdict == "ok"
    assert check([row(weaker, 56), row(stronger, 50)]).verdict == "suspicious"
    # 9 of 200 are 4.5 points, 10 are 5.
    assert check([row(weaker, 59), row(stronger, 50)]).verdict == "suspicious"
    assert check([row(weaker, 60), row(stronger, 50)]).verdict == "failed"
    # Ten more on images of which most differ may be chance.
    assert check([row(weaker, 60), row(stronger, 50, first=100)]).verdict == "ok"
    assert check([row(weaker, 60)]).verdict == "not measured"
    assert check([row(stronger, 60)]).verdict == "not measured"
    assert check([row(weaker, 60, 8), row(stronger, 50, 4)]).verdict == "not measured", "not at one radius"
    assert check([]).verdict == "not measured"


@pytest.mark.parametrize(("check", "weaker", "stronger"), WEAKER)
def test_no_stronger_without_knowing_which(check, weaker, stronger):
    """Fisher's test, which does not know that the images are the same, needs a larger difference."""
    for rows in ([unknown(row(weaker, 60)), row(stronger, 50)], [row(weaker, 60), row(stronger, 100, n=400)]):
        assert check(rows).verdict == "ok"
    found = check([unknown(row(weaker, 90)), unknown(row(stronger, 50))])
    assert found.verdict == "failed"
    assert "unpaired" in found.detail


def test_no_stronger_than_the_best_of_the_others():
    rows = [row("square", 60), row("pgd/a", 10), row("pgd/b", 61), row("fgsm", 20)]
    assert black_box_is_weaker_than_white_box(rows).verdict == "ok"
    assert "pgd/b" in black_box_is_weaker_than_white_box(rows).detail
    assert black_box_is_weaker_than_white_box([*rows, row("transfer", 90)]).verdict == "failed"
    assert one_step_is_weaker_than_many([row("fgsm", 60), row("square", 10)]).verdict == "not measured"


def test_radii_are_compared_each_for_itself_and_corrected_together():
    fine = [row(name, 50, eps) for eps in (1, 2, 4) for name in ("square", "pgd")]
    wrong = [row("square", 56, 8), row("pgd", 50, 8)]
    found = black_box_is_weaker_than_white_box([*fine, *wrong])
    # p = 0.03125 alone, but 0.125 as the smallest of four.
    assert found.verdict == "ok"
    wrong = [row("square", 59, 8), row("pgd", 50, 8)]
    found = black_box_is_weaker_than_white_box([*fine, *wrong])
    assert found.verdict == "suspicious"
    assert found.detail == (
        "Stronger in 1 of 4 comparisons, most in square 29.5 % at 8 levels against pgd 25.0 % at 8 levels "
        "(9 images wrong under the first alone, 0 under the second alone, p = 0.016)."
    )


def test_what_counts_is_told_before_what_is_larger():
    chance = [row("square", 60, 4), row("pgd", 50, 4, first=100)]
    certain = [row("square", 59, 8), row("pgd", 50, 8)]
    found = black_box_is_weaker_than_white_box([*chance, *certain])
    assert found.verdict == "suspicious"
    assert "most in square 29.5 % at 8 levels" in found.detail


def test_what_is_closest_is_told():
    found = one_step_is_weaker_than_many([row("fgsm", 30), row("pgd", 40), row("fgsm", 45, 16), row("pgd", 46, 16)])
    assert found == Check(
        "one step is no stronger than many",
        "ok",
        "Stronger in none of 2 comparisons, closest in fgsm 22.5 % at 16 levels against pgd 23.0 % at 16 levels "
        "(0 images wrong under the first alone, 1 under the second alone, p = 1).",
    )


def test_error_grows_with_the_radius():
    rising = [row("pgd", 40 * k, eps) for k, eps in ((4, 32), (1, 4), (2, 8))]
    assert error_grows_with_the_radius(rising).verdict == "ok"
    assert "In 2" not in error_grows_with_the_radius(rising).detail
    assert "none of 2" in error_grows_with_the_radius(rising).detail
    assert error_grows_with_the_radius([*rising, row("pgd", 10, 16)]).verdict == "failed"
    assert error_grows_with_the_radius([row("pgd", 40, 4), row("square", 10, 8)]).verdict == "not measured"


@pytest.mark.parametrize(
    ("n_wrong", "verdict"), [(200, "ok"), (190, "ok"), (189, "suspicious"), (160, "suspicious"), (159, "failed")]
)
def test_accuracy_goes_to_zero(n_wrong, verdict):
    found = accuracy_goes_to_zero([row("pgd", n_wrong, 32), row("square", 20, 32), row("fgsm", 199, 16)])
    assert found.verdict == verdict
    assert f"{n_wrong / 2:.1f} % at 32 levels" in found.detail


def test_accuracy_at_smaller_radii_says_nothing():
    assert accuracy_goes_to_zero([row("pgd", 10, 31)]).verdict == "not measured"
    assert accuracy_goes_to_zero([]).verdict == "not measured"


def twice(n_wrong, steps=80, restarts=1, **more):
    return row("pgd/more", n_wrong, steps=steps, restarts=restarts, family="pgd", **more)


def test_more_work_changes_little():
    few = row("pgd", 100, family="pgd")
    assert more_work_changes_little([few, twice(100)]).verdict == "ok"
    assert more_work_changes_little([few, twice(105)]).verdict == "ok", "p = 0.0625"
    assert more_work_changes_little([few, twice(106)]).verdict == "suspicious"
    assert more_work_changes_little([few, twice(109)]).verdict == "suspicious"
    assert more_work_changes_little([few, twice(110)]).verdict == "failed"
    assert more_work_changes_little([few, twice(90)]).verdict == "failed", "weaker with more work is no better"
    assert more_work_changes_little([few, twice(110, steps=40, restarts=2)]).verdict == "failed"
    assert more_work_changes_little([few, twice(110, steps=79)]).verdict == "not measured"
    assert more_work_changes_little([few, twice(110, eps_levels=4)]).verdict == "not measured"
    assert more_work_changes_little([few, dataclasses.replace(twice(110), family="")]).verdict == "not measured"
    assert more_work_changes_little([row("fgsm", 50, family="pgd"), few]).verdict == "not measured", "one step is few"


def test_many_images_make_small_changes_certain_but_not_large():
    few = row("pgd", 5000, n=10_000, family="pgd")
    assert more_work_changes_little([few, twice(5100, n=10_000)]).verdict == "ok", "one point exactly"
    assert more_work_changes_little([few, twice(5101, n=10_000)]).verdict == "suspicious"


def test_more_work_is_compared_with_the_next_less():
    rows = [row("pgd/10", 20, steps=10, family="pgd"), row("pgd/40", 100, family="pgd"), twice(101)]
    found = more_work_changes_little(rows)
    assert found.verdict == "ok"
    assert found.detail == (
        "The largest change: pgd/more 50.5 % at 8 levels against pgd/40 50.0 % at 8 levels "
        "(1 images wrong under the first alone, 0 under the second alone, p = 1)."
    )


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.0, "ok"), (0.5, "ok"), (0.51, "suspicious"), (0.989, "suspicious"), (0.99, "failed")]
)
def test_gradients(share, verdict):
    rows = [row("pgd", 10, zero_gradient=share), row("fgsm", 10, zero_gradient=0.0), row("square", 10)]
    found = gradients_are_not_zero([*rows, row("lspga", 10, zero_gradient=float("nan"))])
    assert found.verdict == verdict
    assert f"At most {100 * share:.1f} % of the values of an attack's gradient" in found.detail
    assert "pgd 5.0 % at 8 levels" in found.detail


def test_gradients_not_measured():
    assert gradients_are_not_zero([row("square", 10)]).verdict == "not measured"
    assert gradients_are_not_zero([row("pgd", 10, zero_gradient=float("nan"))]).verdict == "not measured"


def test_no_verdict_hangs_on_an_attack_that_climbs_outputs_unless_it_is_the_stronger_one():
    hidden = row("pgd/outputs", 12, climbs_outputs=True, zero_gradient=1.0)
    rows = [row("random", 10), row("pgd", 50, zero_gradient=0.1)]
    assert gradients_are_not_zero([*rows, hidden]) == gradients_are_not_zero(rows)
    assert outputs_hide_the_way(rows) == []
    (found,) = outputs_hide_the_way([*rows, hidden])
    assert found.verdict == "ok"
    assert found.detail.endswith("At most 100.0 % of the values of the outputs' gradient are exactly 0.")
    (found,) = outputs_hide_the_way([*rows, row("pgd/outputs", 80, climbs_outputs=True)])
    assert found.verdict == "failed"
    names = [check.name for check in panel([*rows, hidden])]
    assert names.count(found.name) == 1
    assert found.name not in [check.name for check in panel(rows)]
    assert outputs_hide_the_way([hidden])[0].verdict == "not measured"


def test_relaxed_against_random_where_another_attack_succeeds():
    def verdict(relaxed, random=6, pgd=100):
        return relaxed_is_stronger_than_random([row("lspga", relaxed), row("random", random), row("pgd", pgd)]).verdict

    assert verdict(7) == "failed", "raw steps: no better than random"
    assert verdict(5) == "failed"
    assert verdict(11) == "failed", "5 more than random may be chance"
    assert verdict(12) == "suspicious"
    # Half of the 94 that the other adds to random's 6 are 47.
    assert verdict(52) == "suspicious"
    assert verdict(53) == "ok"
    assert verdict(7, pgd=11) == "not measured", "the other attack does no better"
    assert verdict(7, pgd=12) == "failed"
    # Of the 12 that the other adds to random's 180, a quarter are 3 and half are 6, fewer than chance explains.
    assert [verdict(relaxed, 180, 192) for relaxed in (182, 183, 185, 186)] == [
        "failed",
        "suspicious",
        "suspicious",
        "ok",
    ]
    assert verdict(8, random=30, pgd=6) == "not measured", "random is far better than the other attack"
    assert verdict(5, random=30) == "failed", "far weaker than random is not stronger"


def test_relaxed_alone():
    assert relaxed_is_stronger_than_random([row("lspga", 12), row("random", 6)]).verdict == "ok"
    found = relaxed_is_stronger_than_random([row("lspga", 11), row("random", 6)])
    assert found.verdict == "suspicious"
    assert "no other white-box attack" in found.detail
    assert relaxed_is_stronger_than_random([row("lspga", 12), row("pgd", 6)]).verdict == "not measured"
    assert relaxed_is_stronger_than_random([row("pgd", 12), row("random", 6)]).verdict == "not measured"


def test_relaxed_takes_the_worst_radius_that_tells():
    small = [row("lspga", 6, 1), row("random", 6, 1), row("pgd", 7, 1)]
    large = [row("lspga", 150, 16), row("random", 20, 16), row("pgd", 190, 16)]
    raw = [row("lspga", 6, 8), row("random", 6, 8), row("pgd", 100, 8)]
    assert relaxed_is_stronger_than_random([*small, *large]).verdict == "ok"
    larger = [row("lspga", 180, 32), row("random", 20, 32), row("pgd", 190, 32)]
    assert "75.0 % at 16 levels" in relaxed_is_stronger_than_random([*large, *larger]).detail, "where it is closest"
    found = relaxed_is_stronger_than_random([*small, *large, *raw])
    assert found.verdict == "failed"
    assert found.detail.startswith("lspga 3.0 % at 8 levels against random 3.0 % at 8 levels")
    assert found.detail.endswith("the best other white-box attack is pgd 50.0 % at 8 levels.")


def test_wrong_images_stay_wrong():
    clean = row("random", 20, 0)
    assert no_image_is_repaired([row("pgd", 20), row("fgsm", 60)], clean).verdict == "ok"
    assert no_image_is_repaired([row("pgd", 60, first=1)], clean).verdict == "failed"
    assert "counts as right 1 images" in no_image_is_repaired([row("pgd", 60, first=1)], clean).detail
    assert no_image_is_repaired([unknown(row("pgd", 20))], clean).verdict == "ok"
    assert no_image_is_repaired([unknown(row("pgd", 19))], clean).verdict == "failed"
    assert no_image_is_repaired([row("pgd", 19, n=100)], clean).verdict == "not measured"
    assert no_image_is_repaired([row("pgd", 19)], None).verdict == "not measured"
    assert no_image_is_repaired([], clean).verdict == "not measured"


def test_rows_that_cannot_be():
    with pytest.raises(ValueError, match="pgd at 8 levels: 3 of 2"):
        Measured("pgd", "white-box", 8, 2, 3)
    with pytest.raises(ValueError, match="0 of 0"):
        Measured("pgd", "white-box", 8, 0, 0)
    with pytest.raises(ValueError, match="1 of 2"):
        Measured("pgd", "white-box", 8, 2, 1, np.zeros(2, dtype=bool))
    with pytest.raises(ValueError, match="1 of 2"):
        Measured("pgd", "white-box", 8, 2, 1, np.ones(1, dtype=bool))


def test_panel_has_every_check_and_goes_into_json():
    live = Check("live", "ok", "Made.")
    empty = panel([], live=[live])
    assert [check.verdict for check in empty] == ["not measured"] * 9 + ["ok"]
    assert len({check.name for check in empty}) == 10
    full = panel(
        [
            *(row(name, n_wrong, eps) for eps in (8, 32) for name, n_wrong in
              (("random", 12), ("fgsm", 60), ("square", 150), ("transfer", 90), ("lspga", 140))),
            row("pgd", 160, family="pgd", zero_gradient=0.1), row("pgd", 200, 32, family="pgd"), twice(161),
        ],
        clean=row("random", 10, 0),
    )  # fmt: skip
    assert [check.verdict for check in full] == ["ok"] * 9
    assert json.loads(json.dumps([dataclasses.asdict(check) for check in full]))[0]["verdict"] == "ok"
    assert all(check.detail.endswith(".") for check in [*empty, *full])
