"""Comparing groups of runs and two networks: the numbers against SciPy's, and which means there are."""

import doctest
import json
import shutil

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_ind, ttest_rel

from measured_runs import CELLS, write_group, write_run, wrong_images
from p2be_exp.corruptions.names import ALL, CATEGORIES, EXTRA, SEVERITIES, TEST
from p2be_exp.errors import BadInput
from p2be_exp.report import comparable, difference
from p2be_exp.report import compare as compare_module
from p2be_exp.report.compare import compare, quantities
from p2be_exp.report.measured import find_measured
from p2be_exp.statistics.intervals import paired_bootstrap
from p2be_exp.statistics.significance import holm

FEW = ("clean", *(f"corruption/{name}/{s}" for name in ("shot_noise", "fog", "spatter") for s in (1, 3)))


def sides(a, b):
    return find_measured("A", str(a)), find_measured("B", str(b))


def by_name(comparison, kind="mean"):
    return {row["name"]: row for row in comparison["rows"] if row["kind"] == kind}


# -- which means ------------------------------------------------------------------------------------------------------


def test_the_means_of_a_full_evaluation():
    every = ["clean", *(f"corruption/{name}/{s}" for name in ALL for s in SEVERITIES)]
    found = {quantity.name: quantity for quantity in quantities(every)}
    categories = {**CATEGORIES, "extra": EXTRA}
    expected = ["clean", "mean_corruption_error", *(f"category/{c}" for c in categories)]
    assert list(found) == expected + [f"corruption/{name}" for name in ALL]
    assert found["mean_corruption_error"].conditions == CELLS  # the extra four are in no other mean
    assert found["mean_corruption_error"].over == "15 of 15 corruptions x 5 of 5 severities"
    assert found["category/extra"].conditions == tuple(f"corruption/{name}/{s}" for name in EXTRA for s in SEVERITIES)
    assert found["category/blur"].over == "4 of 4 corruptions x 5 of 5 severities"
    assert found["corruption/snow"].conditions == tuple(f"corruption/snow/{s}" for s in SEVERITIES)
    assert (found["clean"].conditions, found["clean"].over) == (("clean",), "")


def test_a_corruption_that_is_not_complete_is_in_no_mean():
    cells = [cell for cell in CELLS if cell not in ("corruption/frost/2", "corruption/fog/5") and "zoom" not in cell]
    found = {quantity.name: quantity for quantity in quantities(cells)}
    complete = [name for name in TEST if name not in ("frost", "fog", "zoom_blur")]
    assert found["mean_corruption_error"].conditions == tuple(
        f"corruption/{n}/{s}" for n in complete for s in SEVERITIES
    )
    assert found["mean_corruption_error"].over == "12 of 15 corruptions x 5 of 5 severities"
    assert found["category/weather"].over == "2 of 4 corruptions x 5 of 5 severities"
    assert found["corruption/frost"].over == "severity 1 3 4 5"
    assert "corruption/zoom_blur" not in found
    assert "clean" not in found


def test_fewer_severities():
    found = {quantity.name: quantity for quantity in quantities(FEW)}
    assert found["mean_corruption_error"].over == "2 of 15 corruptions x 2 of 5 severities"
    assert set(found) == {
        *("clean", "mean_corruption_error", "category/noise", "category/weather", "category/extra"),
        *("corruption/shot_noise", "corruption/fog", "corruption/spatter"),
    }


def test_no_mean_where_no_corruption_is_complete():
    found = [quantity.name for quantity in quantities(["corruption/fog/1", "corruption/snow/2"])]
    assert found == ["corruption/snow", "corruption/fog"]


def test_clean_images_alone():
    assert [quantity.name for quantity in quantities(["clean"])] == ["clean"]


@pytest.mark.parametrize("module", [comparable, compare_module, difference])
def test_the_examples(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


# -- groups -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """Three seeds of one method, four of another, that was measured without frost."""
    folder = tmp_path_factory.mktemp("groups")
    a = write_group(folder / "a", [0.30, 0.33, 0.31], n=60)
    few = ["clean", *(cell for cell in CELLS if "frost" not in cell)]
    b = write_group(folder / "b", [0.34, 0.35, 0.31, 0.37], few, n=60, encoding__M=32)
    return compare(*sides(a, b)), a, b


def errors_of(conditions, rates):
    """What :func:`write_group` has measured, a dictionary a seed, in percent."""
    images = [wrong_images(conditions, 60, rate, seed + 100) for seed, rate in enumerate(rates)]
    return [{name: 100 * wrong.mean() for name, wrong in each.items()} for each in images]


def test_seeds_that_both_sides_have_are_compared_in_pairs(groups):
    comparison, _, _ = groups
    how = {"kind": "paired", "seeds_a": [0, 1, 2], "seeds_b": [0, 1, 2], "in_part": True, "why_not": None}
    assert comparison["interval"] == how
    rows = by_name(comparison)
    for row in rows.values():
        assert row["p"] is row["p_holm"] is row["only_a_wrong"] is row["only_b_wrong"] is None
    few = ["clean", *(cell for cell in CELLS if "frost" not in cell)]
    a, b = errors_of(("clean", *CELLS), [0.30, 0.33, 0.31]), errors_of(few, [0.34, 0.35, 0.31, 0.37])
    checked = {
        "clean": ["clean"],
        "mean_corruption_error": few[1:],
        "category/weather": [cell for cell in few if cell.split("/")[1:2] in (["snow"], ["fog"], ["brightness"])],
        "corruption/pixelate": [f"corruption/pixelate/{s}" for s in SEVERITIES],
    }
    for name, conditions in checked.items():
        of_a, of_b = ([np.mean([seed[c] for c in conditions]) for seed in group] for group in (a, b))
        interval = ttest_rel(of_b[:3], of_a).confidence_interval(0.95)
        row = rows[name]
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
        assert row["difference"] == pytest.approx(np.mean(of_b[:3]) - np.mean(of_a))
        assert (row["error_a"], row["error_b"]) == pytest.approx((np.mean(of_a), np.mean(of_b)))
        assert (row["sd_a"], row["sd_b"]) == pytest.approx((np.std(of_a, ddof=1), np.std(of_b, ddof=1)))


@pytest.mark.parametrize(("first", "kind"), [(5, "welch"), (1, None)])
def test_groups_of_other_seeds(tmp_path, first, kind):
    """Seeds 0 and 1 beside 5 and 6, which are independent, and beside 1 and 2, where one alone makes no pairs."""
    write_group(tmp_path / "a", [0.30, 0.33], ["clean"], n=60)
    write_group(tmp_path / "b", [0.34, 0.42], ["clean"], n=60, first=first, encoding__M=32)
    comparison = compare(*sides(tmp_path / "a", tmp_path / "b"))
    (row,) = comparison["rows"]
    of_a, of_b = (
        [100 * wrong_images(["clean"], 60, rate, seed + 100)["clean"].mean() for seed, rate in enumerate(rates, start)]
        for start, rates in ((0, [0.30, 0.33]), (first, [0.34, 0.42]))
    )
    assert comparison["interval"]["kind"] == kind
    assert row["difference"] == pytest.approx(np.mean(of_b) - np.mean(of_a))
    if kind is None:
        assert row["ci_low"] is row["ci_high"] is None
        assert "seed 1 alone in common" in comparison["interval"]["why_not"]
    else:
        interval = ttest_ind(of_b, of_a, equal_var=False).confidence_interval(0.95)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))


def test_what_is_said_of_a_comparison_of_groups(groups):
    comparison, a, b = groups
    assert json.loads(json.dumps(comparison)) == comparison
    assert (comparison["kind"], comparison["resamples"], comparison["n_images"]) == ("groups", None, 60)
    assert [run["folder"] for run in comparison["a"]] == [str(a / str(number)) for number in range(3)]
    assert comparison["b"][3] == {"folder": str(b / "3"), "seed": 3, "checkpoint": "last", "step": 540}
    assert comparison["differ_in"] == {"encoding.M": [64, 32]}
    assert comparison["left_out"] == {"not in all runs of B": [f"corruption/frost/{s}" for s in SEVERITIES]}
    assert comparison["settings"]["dataset"] == "digits"
    rows = by_name(comparison)
    assert rows["mean_corruption_error"]["over"] == "14 of 15 corruptions x 5 of 5 severities"
    assert "corruption/frost" not in rows
    assert by_name(comparison, "condition") == {}


# -- two networks -----------------------------------------------------------------------------------------------------


@pytest.fixture
def networks(tmp_path):
    wrong = [wrong_images(FEW, 400, rate, seed=5) for rate in (0.3, 0.34)]
    wrong[1]["clean"] = wrong_images(["clean"], 400, 0.4, seed=6)["clean"]
    for name, each in zip("ab", wrong, strict=True):
        write_run(tmp_path / name, each, seed=3)
    return compare(*sides(tmp_path / "a", tmp_path / "b")), *wrong


def test_the_means_have_bootstrap_intervals(networks):
    comparison, a, b = networks
    rows = by_name(comparison)
    test = [name for name in FEW[1:] if "spatter" not in name]
    for name, conditions in {"clean": ["clean"], "mean_corruption_error": test, "corruption/fog": FEW[3:5]}.items():
        of_a, of_b = (np.stack([each[condition] for condition in conditions]) for each in (a, b))
        row = rows[name]
        assert (row["difference"], row["ci_low"], row["ci_high"]) == paired_bootstrap(of_a, of_b, resamples=10_000)
        assert (row["error_a"], row["error_b"]) == pytest.approx((100 * of_a.mean(), 100 * of_b.mean()))
        assert row["difference"] == pytest.approx(row["error_b"] - row["error_a"])
        assert row["sd_a"] is row["sd_b"] is row["p"] is None


def test_every_condition_is_tested(networks):
    comparison, a, b = networks
    rows = by_name(comparison, "condition")
    # The published order.
    assert list(rows) == ["clean", *FEW[1:]]
    p = []
    for name, row in rows.items():
        only_a, only_b = int((a[name] & ~b[name]).sum()), int((b[name] & ~a[name]).sum())
        assert (row["only_a_wrong"], row["only_b_wrong"]) == (only_a, only_b)
        p.append(binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0)
        assert row["p"] == pytest.approx(p[-1])
        assert (row["error_a"], row["error_b"]) == pytest.approx((100 * a[name].mean(), 100 * b[name].mean()))
        assert row["difference"] == pytest.approx(100 * (b[name].mean() - a[name].mean()))
        assert row["ci_low"] is row["ci_high"] is None
    assert [row["p_holm"] for row in rows.values()] == pytest.approx(holm(p).tolist())
    assert len(p) == 7


def test_what_is_said_of_a_comparison_of_networks(networks):
    comparison, _, _ = networks
    assert json.loads(json.dumps(comparison)) == comparison
    assert (comparison["kind"], comparison["resamples"], comparison["n_images"]) == ("networks", 10_000, 400)
    assert [run["seed"] for side in "ab" for run in comparison[side]] == [3, 3]
    assert comparison["differ_in"] == comparison["left_out"] == {}
    assert not comparison["one_run"]


def test_two_evaluations_of_one_run_are_told_as_such(tmp_path):
    run, again = tmp_path / "run", tmp_path / "run" / "evaluations" / "again"
    write_run(run, wrong_images(["clean"], 60, 0.3, seed=1), seed=3)
    write_run(tmp_path / "other", wrong_images(["clean"], 60, 0.4, seed=1), seed=3)
    shutil.copytree(tmp_path / "other", again, ignore=shutil.ignore_patterns("config.yaml", "run.json", "status.json"))
    assert compare(*sides(run, again))["one_run"]
    assert not compare(*sides(run, tmp_path / "other"))["one_run"]


# -- what cannot be compared ------------------------------------------------------------------------------------------


def test_one_against_several(workdir):
    write_group("several", [0.3, 0.3], ["clean"])
    write_run("one", wrong_images(["clean"]), seed=9)
    for a, b, key in [("several", "one", "B"), ("one", "several", "A")]:
        with pytest.raises(
            BadInput, match=rf"^{key}=one: one run against several; both sides must have one run, or both two or more"
        ):
            compare(*sides(a, b))


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ("mixed", "good", r"^epochs=12 in mixed/0, 20 in mixed/1"),
        ("good", "mixed", r"^epochs=12 in mixed/0, 20 in mixed/1.*\(B\)"),
        ("good", "good", "this run is in A, too"),
        ("good", "limited", "^limit_test=None in A=good/0, 200 in B=limited/0"),
        ("good", "other_images", "^B=other_images/1: clean was measured on other test images"),
        ("good", "fog", "no condition was measured on all runs"),
    ],
)
def test_every_check_is_made(workdir, a, b, told):
    write_group("good", [0.3, 0.3], ["clean"])
    write_group("mixed", [0.3], ["clean"], first=5)
    write_run("mixed/1", wrong_images(["clean"]), seed=6, epochs=20)
    write_group("limited", [0.3, 0.3], ["clean"])
    for number in "01":
        results = workdir / "limited" / number / "results.json"
        results.write_text(results.read_text().replace('"limit_test": null', '"limit_test": 200'))
    write_group("other_images", [0.3], ["clean"])
    write_group("more", [0.3], ["clean"], n=100, first=1)
    (workdir / "more" / "0").rename(workdir / "other_images" / "1")
    write_group("fog", [0.3, 0.3], ["corruption/fog/1"])
    with pytest.raises(BadInput, match=told):
        compare(*sides(a, b))
