"""The sanity panel: every check with rows made up for each verdict, its thresholds, and what it says."""

import dataclasses
import doctest
import json

import numpy as np
import pytest
import torch
from torch import nn

from p2be_exp.attacks import sanity
from p2be_exp.attacks.attack import Attack, Search
from p2be_exp.attacks.ball import bounds
from p2be_exp.attacks.greedy import GreedyLevels
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.sanity import (
    Check,
    Measured,
    accuracy_goes_to_zero,
    black_box_is_weaker_than_white_box,
    candidates_are_inside,
    error_grows_with_the_radius,
    forwards_agree,
    gradients_are_not_zero,
    more_work_changes_little,
    no_image_is_repaired,
    one_step_is_weaker_than_many,
    panel,
    panel_text,
    planted_direction_is_found,
    planted_image_is_found,
    planted_network,
    random_is_weaker_than_one_step,
    relaxed_is_stronger_than_random,
    zero_radius_is_clean,
)
from p2be_exp.attacks.square import Square
from p2be_exp.backbones import build_backbone
from p2be_exp.encodings import P2BE, RGB, OneHot, Thermometer
from p2be_exp.model import EncodedClassifier

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
    assert f"{100 * share:.1f} % of an attack's gradients" in found.detail
    assert "pgd 5.0 % at 8 levels" in found.detail


def test_gradients_not_measured():
    assert gradients_are_not_zero([row("square", 10)]).verdict == "not measured"
    assert gradients_are_not_zero([row("pgd", 10, zero_gradient=float("nan"))]).verdict == "not measured"


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


def test_text_is_aligned():
    lines = panel_text([Check("a", "not measured", "One."), Check("longer", "ok", "Two.")]).splitlines()
    assert lines == ["not measured  a       One.", "ok            longer  Two."]
    assert panel_text([]) == ""
    assert doctest.testmod(sanity).failed == 0


# Checks that ask the model


class Reads(nn.Module):
    """Class 1 where the mean level is above 100; ``noise`` is added anew at each call after the first."""

    def __init__(self, noise=0.0):
        super().__init__()
        self.noise, self.calls = noise, 0

    def forward(self, images):
        self.calls += 1
        rise = images.double().flatten(1).mean(1) - 100 + self.noise * (self.calls > 1)
        return torch.stack([-rise, rise, torch.full_like(rise, -500.0)], 1)


def grey(*means):
    return torch.stack([torch.full((3, 4, 4), mean, dtype=torch.uint8) for mean in means])


def randoms(n=1):
    return AttackRandom(0, torch.arange(n))


def test_forwards():
    images = grey(90, 99, 110)
    model = Reads()
    found = forwards_agree(model, images)
    assert (found.verdict, model.calls) == ("ok", 5)
    assert found.detail == "5 forwards of 3 images give the same logits."
    assert forwards_agree(Reads(0.5), images).verdict == "suspicious"
    found = forwards_agree(Reads(1.5), images)
    assert found.verdict == "failed"
    assert found.detail == "5 forwards of 3 images differ by up to 1.5 and change 4 predictions."
    assert forwards_agree(Reads(float("nan")), images).verdict == "failed"
    dropout = nn.Sequential(Reads(), nn.Dropout(0.5)).train()
    assert forwards_agree(dropout, images).verdict == "ok", "in eval mode"
    assert dropout.training


def test_inside():
    images = grey(90, 4, 250)
    assert candidates_are_inside(images, bounds(images, 8)[1], 8).verdict == "ok"
    outside = images.clone()
    outside[1, 0, 0, 0] = 13
    found = candidates_are_inside(images, outside, 8)
    assert (found.verdict, found.detail) == ("failed", "1 of 3 images are more than 8 levels away.")
    found = candidates_are_inside(images, images.float(), 8)
    assert found.verdict == "failed"
    assert found.detail == "The images are torch.float32 (3, 3, 4, 4), not torch.uint8 (3, 3, 4, 4)."
    assert candidates_are_inside(images, images[:1], 8).verdict == "failed"


class Fixed(Attack):
    """Returns what it is told to, in every search."""

    id = "fixed"

    def __init__(self, move, eps_levels=0):
        super().__init__(eps_levels)
        self.move = move

    def search(self, model, images, labels, random, restart=0):
        return Search(self.move(images))


class Forgetful(Fixed):
    """Says that nothing is broken."""

    def __call__(self, *args):
        found = super().__call__(*args)
        return dataclasses.replace(found, broken=torch.zeros_like(found.broken))


class Mover(Fixed):
    """Returns images outside its ball."""

    def __call__(self, model, images, *rest):
        return dataclasses.replace(super().__call__(model, images, *rest), images=images + 1)


def test_zero_radius():
    images, labels = grey(90, 110, 99), torch.zeros(3, dtype=torch.long)
    for attack in (Square(0, 5), GreedyLevels(0, 5), Fixed(lambda x: x)):
        found = zero_radius_is_clean(attack, Reads(), images, labels, randoms(3))
        assert found.verdict == "ok"
        assert found.detail == f"{attack.id} leaves 1 of 3 images wrong, as they are."
    found = zero_radius_is_clean(Forgetful(lambda x: x), Reads(), images, labels, randoms(3))
    assert (found.verdict, found.detail) == ("failed", "fixed judges 1 of 3 images otherwise and changes 0.")
    found = zero_radius_is_clean(Mover(lambda x: x), Reads(), images, labels, randoms(3))
    assert (found.verdict, found.detail) == ("failed", "fixed judges 0 of 3 images otherwise and changes 3.")
    with pytest.raises(ValueError, match="square has a radius of 1 levels"):
        zero_radius_is_clean(Square(1, 5), Reads(), images, labels, randoms(3))


@pytest.mark.parametrize("eps_levels", [1, 8, 255])
def test_planted_image(eps_levels):
    images, labels = grey(150, 90, 255, 0, 95), torch.zeros(5, dtype=torch.long)
    found = planted_image_is_found(Reads(), images, labels, eps_levels)
    assert found.verdict == "ok"
    assert found.detail == "It is image 1, proposed in the second restart; no other was counted with it."
    assert planted_image_is_found(Reads(), images, labels + 2, eps_levels).verdict == "not measured"
    saturated = planted_image_is_found(Reads(), images, torch.tensor([0, 1, 1, 1, 1]), eps_levels)
    assert "image 2" in saturated.detail
    assert saturated.verdict == "ok", "an image at 255 goes down"


def test_planted_image_is_missed_by_broken_machinery(monkeypatch):
    images, labels = grey(150, 90, 92, 0, 95), torch.zeros(5, dtype=torch.long)
    call = Attack.__call__

    def without_restarts(self, *args):
        self.restarts = 1
        return call(self, *args)

    def counts_all(self, *args):
        found = call(self, *args)
        return dataclasses.replace(found, broken=torch.ones_like(found.broken))

    def loses_images(self, model, images, *rest):
        return dataclasses.replace(call(self, model, images, *rest), images=images)

    for broken, differ in ((without_restarts, 1), (counts_all, 3), (loses_images, 0)):
        monkeypatch.setattr(Attack, "__call__", broken)
        found = planted_image_is_found(Reads(), images, labels, 8)
        assert found.verdict == "failed"
        assert found.detail == f"It is image 1; {differ} of 5 images are judged falsely."
    monkeypatch.setattr(Attack, "__call__", without_restarts)
    assert planted_image_is_found(Reads(), grey(255), torch.tensor([1]), 8).verdict == "failed", "it differs at 255 too"


ENCODINGS = [RGB, lambda: OneHot(16), lambda: Thermometer(16), lambda: Thermometer(64), lambda: P2BE(16)]


def corner(encoding, eps_levels, image):
    """The best corner of the ball for the planted network, by asking it level by level."""
    torch.manual_seed(0)
    network = planted_network(encoding, image, eps_levels)
    every = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(256, 3, 4, 4).contiguous()
    with torch.no_grad():
        reading = network(every)[:, 1]
    low, high = bounds(image, eps_levels)
    return network, torch.where(reading[high.long()] > reading[low.long()], high, low)


@pytest.mark.parametrize("make", ENCODINGS)
@pytest.mark.parametrize("eps_levels", [8, 32])
def test_planted_network_falls_halfway(make, eps_levels):
    torch.manual_seed(1)
    image = torch.randint(256, (3, 4, 4), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    network, best = corner(make(), eps_levels, image)
    with torch.no_grad():
        here, there = network(image[None]), network(best[None])
    assert here.shape == (1, 10)
    assert here[0, :2].tolist() == pytest.approx([0, -2], abs=1e-4)
    assert there[0, :2].tolist() == pytest.approx([0, 2], abs=1e-4)
    assert (here[0, 2:] == -4).all()


@pytest.mark.parametrize("make", ENCODINGS)
def test_planted_direction(make):
    torch.manual_seed(1)
    image, encoding = torch.randint(40, 200, (3, 4, 4), dtype=torch.int64).to(torch.uint8), make()
    _, best = corner(encoding, 16, image)
    found = planted_direction_is_found(Fixed(lambda _: best[None], 16), encoding, image, randoms())
    assert found.verdict == "ok"
    assert found.detail == "fixed at 16 levels goes 100 % of the way; 50 % is enough."
    found = planted_direction_is_found(Fixed(lambda x: x, 16), encoding, image, randoms())
    assert found.verdict == "failed"
    assert found.detail == "fixed at 16 levels goes 0 % of the way; 50 % is enough."
    assert planted_direction_is_found(GreedyLevels(16, 800), encoding, image, randoms()).verdict == "ok"
    assert planted_direction_is_found(Square(16, 1000), encoding, image, randoms()).verdict == "ok"


def test_planted_direction_is_the_level_where_the_codes_tell_it():
    for encoding in (RGB(), OneHot(256), Thermometer(256)):
        _, best = corner(encoding, 8, grey(100)[0])
        assert (best == 108).all()


def test_readout_is_the_level_where_the_codes_tell_it():
    for encoding in (RGB(), OneHot(256), Thermometer(256)):
        reading = encoding.table().double() @ sanity._readout(encoding.table())
        torch.testing.assert_close(reading.diff(), torch.full((255,), 1 / 255, dtype=torch.float64))


def test_planted_direction_is_read_in_full_precision():
    """Eight bits go through a convolution of codes, which autocast would do in bf16."""
    torch.manual_seed(1)
    image, encoding = torch.randint(40, 200, (3, 4, 4), dtype=torch.int64).to(torch.uint8), Thermometer(8)
    moved = (image + 9).clamp(max=255)
    plain = planted_direction_is_found(Fixed(lambda _: moved[None], 16), encoding, image, randoms())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert planted_direction_is_found(Fixed(lambda _: moved[None], 16), encoding, image, randoms()) == plain
        lowered = []
        watch = Fixed(lambda x: lowered.append(torch.is_autocast_enabled("cpu")) or x, 16)
        planted_direction_is_found(watch, encoding, image, randoms())
    assert lowered == [False], "while it is attacked, too"
    assert " 0 %" not in plain.detail


def test_nothing_to_plant_where_no_code_changes():
    found = planted_direction_is_found(Fixed(lambda x: x, 8), Thermometer(1), grey(100)[0], randoms())
    assert found.verdict == "not measured"
    found = planted_direction_is_found(Fixed(lambda x: x, 0), RGB(), grey(100)[0], randoms())
    assert found.verdict == "not measured"


def test_planting_leaves_the_model_as_it_was():
    torch.manual_seed(0)
    model = EncodedClassifier(P2BE(8), build_backbone("wrn16_1", 10)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    image = torch.randint(256, (3, 8, 8)).to(torch.uint8)
    planted_direction_is_found(Square(8, 10), model.encoding, image, randoms())
    planted_image_is_found(model, image[None], torch.tensor([0]), 8)
    forwards_agree(model, image[None])
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
