"""Differences of cells: which interval is taken when, and its ends against SciPy's."""

import numpy as np
import pytest
from scipy import stats

from measured_runs import write_recipe, write_results, wrong_images
from p2be_exp.report.difference import Compared
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.grid import difference
from p2be_exp.report.paper.keys import Measure
from p2be_exp.report.paper.reference import compare_cells

CLEAN = Measure("clean")
A, B = {0: 35.1, 1: 35.6, 2: 35.2}, {0: 34.0, 1: 34.9, 2: 34.3}


def side(errors):
    return {seed: (None, error) for seed, error in errors.items()}


def test_the_same_seeds_are_pairs():
    found = compare_cells(side(A), side(B), CLEAN)
    expected = stats.ttest_rel(list(B.values()), list(A.values())).confidence_interval(0.95)
    assert (found.kind, found.seeds) == ("paired", ((0, 1, 2), (0, 1, 2)))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.difference == pytest.approx(np.mean(list(B.values())) - np.mean(list(A.values())))


def test_pairs_are_made_by_seed_not_by_order():
    turned = dict(reversed(B.items()))
    assert compare_cells(side(A), side(turned), CLEAN) == compare_cells(side(A), side(B), CLEAN)


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        ((0, 1, 2, 3, 4), (0, 1, 2, 3), "p, seeds 0 to 3"),
        ((0, 1, 2), (0, 2, 5), "p, seeds 0 2"),
        ((0, 1, 2), (0, 1, 2), "p"),
    ],
)
def test_the_seeds_that_both_have_are_pairs(one, other, told):
    a, b = ({seed: start + seed**2 / 7 % 1 for seed in of} for start, of in ((35.0, one), (34.2, other)))
    b = {seed: error + seed % 3 / 9 for seed, error in b.items()}
    common = sorted(set(one) & set(other))
    found = compare_cells(side(a), side(b), CLEAN)
    expected = stats.ttest_rel([b[seed] for seed in common], [a[seed] for seed in common]).confidence_interval(0.95)
    assert (found.kind, found.seeds) == ("paired", (tuple(common), tuple(common)))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert difference(found).endswith(f"] {told}")


def test_one_seed_in_common_makes_no_interval():
    found = compare_cells(side(A), side({2: 34.0, 3: 35.0}), CLEAN)
    assert (found.kind, found.low, found.excludes_zero) == ("", None, False)
    assert found.difference == pytest.approx(34.5 - np.mean(list(A.values())))
    assert "seed 2 alone" in found.why_not


@pytest.mark.parametrize("seeds", [(3, 4), (5, 6, 7)])
def test_other_seeds_are_independent(seeds):
    other = {seed: 34.0 + seed**2 / 10 for seed in seeds}
    found = compare_cells(side(A), side(other), CLEAN)
    test = stats.ttest_ind(list(other.values()), list(A.values()), equal_var=False).confidence_interval(0.95)
    assert found.kind == "welch"
    assert (found.low, found.high) == pytest.approx((test.low, test.high))


def test_no_spread_claims_nothing():
    found = compare_cells(side({0: 35.1, 1: 35.2}), side({0: 34.1, 1: 34.2}), CLEAN)
    assert found.low == found.high
    assert not found.excludes_zero


@pytest.mark.parametrize(
    ("low", "high", "told"), [(-2, -1, True), (1, 2, True), (-1, 1, False), (0, 1, False), (None, None, False)]
)
def test_zero_inside_or_outside(low, high, told):
    assert Compared("welch", 0.5, low, high, ((0,), (1,))).excludes_zero is told


@pytest.fixture
def networks(workdir):
    """By encoding and seed, digits runs with the images behind their rows."""
    found = {}
    for encoding, seed, n in (("rgb", 0, 200), ("rgb", 1, 200), ("p2be", 1, 200), ("onehot", 1, 100)):
        folder = write_recipe(workdir / f"{encoding}{seed}", f"encoding={encoding} dataset=digits", {"clean": 1}, seed)
        settings = gather([str(folder)])[0][0].settings
        write_results(folder, wrong_images(["clean"], n, 0.3 if encoding == "rgb" else 0.1, seed), settings)
        found[encoding, seed] = gather([str(folder)])[0][0]
    return found


def error(result):
    return result, result.counts["clean"].error


def test_one_network_a_side(networks):
    a = {seed: error(networks["rgb", seed]) for seed in (0, 1)}
    b = {1: error(networks["p2be", 1])}
    found = compare_cells(a, b, CLEAN)
    assert (found.kind, found.seeds) == ("networks", ((1,), (1,)))  # the same seed of both, not the mean of one
    assert found.difference == pytest.approx(b[1][1] - a[1][1])
    assert difference(found).endswith("] n, seed 1")  # beside a mean of two
    assert difference(compare_cells({1: a[1]}, b, CLEAN)).endswith("] n")
    other = difference(compare_cells({0: a[0], 5: a[1]}, b, CLEAN))
    assert other.endswith("] n, seed 1 \N{MINUS SIGN} seed 0")
    wrong = [networks[key].images("clean").wrong for key in (("rgb", 1), ("p2be", 1))]
    steps = 100 * (wrong[1].astype(float) - wrong[0])
    expected = stats.bootstrap((steps,), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.6)


def test_networks_that_saw_other_images(networks):
    found = compare_cells({0: error(networks["rgb", 0])}, {1: error(networks["onehot", 1])}, CLEAN)
    assert (found.kind, found.low, found.excludes_zero) == ("", None, False)
    assert "other test images" in found.why_not


def test_networks_whose_images_are_lost(networks):
    for file in (networks["p2be", 1].folder / "per_image").iterdir():
        file.unlink()
    found = compare_cells({1: error(networks["rgb", 1])}, {1: error(networks["p2be", 1])}, CLEAN)
    assert "clean.npz is missing" in found.why_not
    assert found.difference < 0
