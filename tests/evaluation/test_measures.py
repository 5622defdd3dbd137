"""Means, mCE and relative mCE against hand calculation and published numbers; what is missing is said, never filled."""

import random
from statistics import fmean

import pytest

from p2be_exp.corruptions.names import ALL, CATEGORIES, EXTRA, SEVERITIES, TEST
from p2be_exp.evaluation.measures import (
    ALEXNET,
    ALEXNET_CLEAN,
    ALEXNET_EXTRA,
    Plan,
    mce,
    nothing_measured,
    relative_mce,
    summarise,
)

# AlexNet's errors by severity, in fractions, as published (hendrycks/robustness, issue 10); JPEG's were not.
ALEXNET_BY_SEVERITY = {
    "gaussian_noise": (0.69528, 0.82542, 0.93554, 0.98138, 0.99452),
    "shot_noise": (0.71224, 0.85108, 0.93574, 0.98182, 0.99146),
    "impulse_noise": (0.78374, 0.89808, 0.94870, 0.98720, 0.99548),
    "defocus_blur": (0.65624, 0.73202, 0.85036, 0.91364, 0.94714),
    "glass_blur": (0.64308, 0.75054, 0.88806, 0.91622, 0.93344),
    "motion_blur": (0.58430, 0.70048, 0.82108, 0.89750, 0.92638),
    "zoom_blur": (0.70008, 0.76992, 0.80784, 0.84198, 0.87198),
    "snow": (0.71726, 0.88392, 0.86468, 0.91870, 0.94952),
    "frost": (0.61390, 0.79734, 0.88790, 0.89942, 0.93430),
    "fog": (0.67474, 0.76050, 0.84378, 0.87260, 0.94500),
    "brightness": (0.45140, 0.48502, 0.54048, 0.62166, 0.72440),
    "contrast": (0.64548, 0.76150, 0.88874, 0.97760, 0.99270),
    "elastic_transform": (0.52596, 0.70116, 0.55686, 0.64076, 0.80554),
    "pixelate": (0.52218, 0.54620, 0.73728, 0.87092, 0.91262),
}


def random_cells(names, severities=SEVERITIES, seed=0):
    numbers = random.Random(seed)
    return {name: {severity: numbers.uniform(5, 95) for severity in severities} for name in names}


def plan(names=TEST, severities=SEVERITIES, source="generated", dataset="cifar10", left_out=None):
    return Plan(source, dataset, tuple(names), tuple(severities), left_out or {})


OFFICIAL = {"source": "given", "dataset": "imagenet"}  # no digest of its files is known


def test_the_normaliser_is_the_mean_of_the_published_severities():
    assert tuple(ALEXNET) == TEST
    for name, errors in ALEXNET_BY_SEVERITY.items():
        assert ALEXNET[name] == pytest.approx(100 * fmean(errors), abs=1e-9)


def test_alexnet_itself_has_100():
    assert mce(ALEXNET) == pytest.approx(100, abs=1e-12)
    assert relative_mce(ALEXNET, ALEXNET_CLEAN) == pytest.approx(100, abs=1e-12)
    assert mce(ALEXNET_EXTRA, ALEXNET_EXTRA) == pytest.approx(100, abs=1e-12)


def test_alexnet_has_100_from_its_rows():
    cells = {name: dict(zip(SEVERITIES, (100 * e for e in errors), strict=True)) for name, errors in
             ALEXNET_BY_SEVERITY.items()}  # fmt: skip
    cells["jpeg_compression"] = dict.fromkeys(SEVERITIES, ALEXNET["jpeg_compression"])
    result = summarise(cells, plan(**OFFICIAL), ALEXNET_CLEAN, 50_000)
    assert (result["mce"], result["relative_mce"]) == (100, 100)


def test_the_row_of_rgb_in_the_papers_table_3():
    printed = (66, 66, 65, 69, 82, 65, 66, 73, 73, 62, 58, 63, 80, 67, 70)
    errors = {name: ce * ALEXNET[name] / 100 for name, ce in zip(TEST, printed, strict=True)}
    assert mce(errors) == pytest.approx(68.2, abs=0.5)


def test_a_missing_corruption_is_no_mce():
    errors = {name: value for name, value in ALEXNET.items() if name != "fog"}
    with pytest.raises(KeyError, match="fog"):
        mce(errors)


def test_means_by_hand():
    cells = random_cells(ALL)
    result = summarise(cells, plan(ALL), 3.0, 500)
    flat = [cells[name][severity] for name in TEST for severity in SEVERITIES]
    assert result["mean_corruption_error"] == pytest.approx(sum(flat) / 75, abs=1e-4)
    section = result["corruptions"]
    extra = [cells[name][severity] for name in EXTRA for severity in SEVERITIES]
    assert section["extra"]["error"] == pytest.approx(sum(extra) / 20, abs=1e-4)
    for category, names in CATEGORIES.items():
        expected = fmean(cells[name][severity] for name in names for severity in SEVERITIES)
        assert section["categories"][category]["error"] == pytest.approx(expected, abs=1e-4)
    for name in ALL:
        assert section["per_corruption"][name]["error"] == pytest.approx(fmean(cells[name].values()), abs=1e-4)
    assert section["mean"]["over"] == "15 of 15 corruptions x 5 of 5 severities"
    assert section["mean"]["missing"] == []
    assert section["unfinished"] == []


def test_what_is_left_out_is_said_beside_every_mean():
    names = [name for name in TEST if name != "frost"]
    cells = random_cells(names)
    result = summarise(cells, plan(left_out={"frost": "no textures"}), 3.0, 500)
    assert result["mean_corruption_error"] == pytest.approx(fmean(fmean(cells[n].values()) for n in names), abs=1e-4)
    section = result["corruptions"]
    assert section["left_out"] == {"frost": "no textures"}
    assert (section["mean"]["over"], section["mean"]["missing"]) == (
        "14 of 15 corruptions x 5 of 5 severities",
        ["frost"],
    )
    assert section["categories"]["weather"]["missing"] == ["frost"]
    assert section["categories"]["noise"]["missing"] == []
    assert "frost" not in section["per_corruption"]


def test_a_subset_is_said_beside_every_mean():
    result = summarise(random_cells(["fog"], (1, 3)), plan(["fog"], (1, 3)), 3.0, 500)
    mean = result["corruptions"]["mean"]
    assert mean["over"] == "1 of 15 corruptions x 2 of 5 severities"
    assert len(mean["missing"]) == 14
    assert result["corruptions"]["categories"]["noise"]["error"] is None
    assert result["corruptions"]["extra"]["error"] is None


def test_no_mean_before_its_last_cell():
    cells = random_cells(TEST)
    del cells["pixelate"][5]
    result = summarise(cells, plan(), 3.0, 500)
    assert result["mean_corruption_error"] is None
    section = result["corruptions"]
    assert section["unfinished"] == ["pixelate"]
    assert section["per_corruption"]["pixelate"]["error"] is None
    assert section["per_corruption"]["pixelate"]["severities"]["5"] is None
    assert section["categories"]["digital"]["error"] is None
    assert section["categories"]["noise"]["error"] is not None


def test_relative_mce_by_hand():
    cells = random_cells(TEST)
    result = summarise(cells, plan(**OFFICIAL), 24.5, 50_000)
    ratios, relative = [], []
    for name in TEST:
        ratios.append(sum(cells[name].values()) / (5 * ALEXNET[name]))
        relative.append(sum(e - 24.5 for e in cells[name].values()) / (5 * (ALEXNET[name] - 43.478)))
    assert result["mce"] == pytest.approx(100 * sum(ratios) / 15, abs=1e-4)
    assert result["relative_mce"] == pytest.approx(100 * sum(relative) / 15, abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "images"),
    [
        ({"source": "generated", "dataset": "imagenet"}, 50_000),
        ({"source": "official", "dataset": "cifar10"}, 50_000),
        ({"source": "own", "dataset": "imagenet"}, 50_000),
        ({"source": "given", "dataset": "imagenet"}, 49_999),
        ({"source": "given", "dataset": "imagenet", "severities": (1, 2, 3, 4)}, 50_000),
        ({"source": "given", "dataset": "imagenet", "names": TEST[:14]}, 50_000),
        ({"source": "given", "dataset": "imagenet", "left_out": {"snow": "not in the folder"}}, 50_000),
    ],
)
def test_mce_is_null_for_anything_but_the_whole_official_imagenet_c(settings, images):
    result = summarise(random_cells(TEST), plan(**settings), 24.5, images)
    assert (result["mce"], result["relative_mce"]) == (None, None)
    assert result["mean_corruption_error"] is not None


def test_the_extra_ones_have_their_own_mce_which_says_that_its_normaliser_is_unverified():
    cells = random_cells(ALL)
    result = summarise(cells, plan(ALL, **OFFICIAL), 24.5, 50_000)
    extra = result["corruptions"]["extra"]
    by_hand = fmean(fmean(cells[name].values()) / ALEXNET_EXTRA[name] for name in EXTRA)
    assert extra["mce"] == pytest.approx(100 * by_hand, abs=1e-4)
    assert "unverified" in extra["normaliser"]
    assert result["mce"] == summarise(cells, plan(**OFFICIAL), 24.5, 50_000)["mce"]
    assert "mce" not in summarise(cells, plan(ALL), 24.5, 50_000)["corruptions"]["extra"]


def test_without_corruptions_everything_is_null():
    assert nothing_measured().keys() == summarise(random_cells(TEST), plan(), 1.0, 1).keys()
    assert not any(nothing_measured().values())


def test_the_cells_of_a_plan():
    cells = plan(["snow", "frost", "fog"], (2, 4), left_out={"frost": "no textures"}).cells
    assert cells == [("snow", 2), ("snow", 4), ("fog", 2), ("fog", 4)]
