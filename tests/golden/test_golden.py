"""Four stored cases: to the bit on a machine like the one they were stored on, elsewhere as far as rounding allows.

Where the first half cannot be asked, it is skipped with the reason.
"""

import functools
import os

import on_purpose
import pytest
from compare import Verdict, compared, differences, told
from stored import CASES, differences_elsewhere, found, stored
from worker import fingerprint

found_once = functools.cache(found)


@pytest.mark.parametrize("name", CASES)
def test_counts_and_the_losses_of_the_first_step_are_those_stored(name):
    _, expected = stored(name)
    assert differences_elsewhere(expected, found_once(name)) == []


@pytest.mark.parametrize("name", CASES)
def test_on_an_equal_machine_every_number_is_the_same_to_the_bit(name):
    there, expected = stored(name)
    here = fingerprint() | {"rounding": os.environ.get("P2BE_TEST_ROUNDING", "of this CPU")}
    if other := differences(there, here):
        pytest.skip(f"counts and first losses alone are compared, stored on another machine: {'; '.join(other)}")
    assert differences(expected, found_once(name)) == []


def test_a_difference_elsewhere_is_more_than_rounding():
    counts = {"results.csv: clean: n": "40"}
    expected = {"step 1: ce": 2.0, "step 2: ce": 1.5, "results.csv: clean: n_wrong": "9", **counts}
    rounded = {
        "step 1: ce": 2.0001,
        "step 2: ce": 1.6,
        "results.csv: clean: n": "40",
        "results.csv: clean: n_wrong": "8",
    }
    assert differences_elsewhere(expected, rounded) == []
    assert differences_elsewhere(expected, rounded | {"step 1: ce": 2.0005}) == ["step 1: ce: 2.0 stored, 2.0005 here"]
    fewer = rounded | {"results.csv: clean: n": "39"}
    assert differences_elsewhere(expected, fewer) == ["results.csv: clean: n: '40' stored, '39' here"]
    assert differences_elsewhere(expected, {"step 1: ce": 2.0}) != []


def test_the_verdict_on_a_case():
    nan, found = float("nan"), {"step 1: ce": 0.1, "step 2: ce": 0.2}
    assert compared({"found": {"a": nan}}, {"found": {"a": nan}}) == Verdict("equal", [])
    last_bit = 0.2 + 2**-55
    assert compared({"found": found}, {"found": found | {"step 2: ce": last_bit}}) == Verdict(
        "DIFFERS", [f"step 2: ce: 0.2 before, {told(last_bit)} after"]
    )
    fewer = compared({"found": found}, {"found": {"step 1: ce": 0.1}})
    assert fewer.lines == ["step 2: ce: 0.2 before, missing after"]
    assert compared({"found": found}, {"found": found | {"step 3: ce": 0.3}}).word == "DIFFERS"
    assert compared({"found": {}}, {"found": {}}).word == "BROKEN"
    assert compared({"found": found}, {"broken": "train.py: exit code 1"}).word == "BROKEN"
    assert compared({"found": found}, {"skipped": "no such example"}).word == "skipped"


def test_what_was_changed_on_purpose_is_counted_apart():
    found = {"step 1: ce": 0.1}
    key = "config.yaml: model: name"
    verdict = compared({"found": found}, {"found": found | {key: "plain"}})
    assert verdict == Verdict("equal", [], {"keys of the configuration that older commits do not have": 1})
    assert compared({"found": found}, {"found": found | {key: "plain"}}, strict=True).word == "DIFFERS"
    assert compared({"found": found | {key: "plain"}}, {"found": found | {key: "other"}}).word == "DIFFERS"
    assert differences(found, found | {key: "plain"}) == [f"{key}: missing before, plain after"]


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        ("results.csv: attack/lspga_margin/8: n_wrong", on_purpose.MISSING, "60"),
        ("resnet18: results.json: attacks: lspga_twice: error: 8", on_purpose.MISSING, 3.0),
        ("per_image/attack-lspga_half-8.npz: prediction", on_purpose.MISSING, "int64"),
        ("results.csv: attack/pgd_ce_secant/8: gradient", "secant", "exact"),
        ("results.json: worst_case_error: 8", 98.0, 100.0),
        ("results.json: worst_case_error: 8", 98.0, on_purpose.MISSING),
        ("networks: compare.json: rows: 3: p: 1", 0.4531249999999996, 0.453125),
        ("table2-departing-1.csv: 7: ci_low", "-29.265511840436734", "-29.265511840436737"),
        (
            "table4.csv: 6: row",
            "rgb|regime.attack.steps = 3",
            "rgb|regime.attack.steps = 3, regime.attack.start = image",
        ),
        ("report.md: numbers of row 4", "3 91.67", "3 2 91.67"),
    ],
)
def test_a_change_made_on_purpose(key, before, after):
    assert on_purpose.reason(key, before, after)


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        ("step 1: ce", on_purpose.MISSING, 0.1),
        ("results.csv: attack/lspga_margin/8: n_wrong", "59", "60"),
        ("results.csv: attack/lspga/8: n_wrong", on_purpose.MISSING, "60"),
        ("results.csv: attack/lspga/8: n_wrong", "59", "60"),
        ("results.csv: attack/lspga_twice/8: n_wrong", "60", on_purpose.MISSING),
        ("per_image/attack-lspga-8.npz: prediction", "int64", on_purpose.MISSING),
        ("results.csv: attack/pgd_ce_secant/8: gradient", "exact", "secant"),
        ("results.json: worst_case_error: 8", 98.0, 97.0),
        ("networks: compare.json: rows: 3: p: 1", 0.4531, 0.453125),
        (
            "table4.csv: 6: row",
            "rgb|regime.attack.steps = 3",
            "rgb|regime.attack.steps = 4, regime.attack.start = image",
        ),
        ("report.md: numbers of row 4", "3 91.67", "3 91.68"),
    ],
)
def test_what_no_purpose_explains(key, before, after):
    assert on_purpose.reason(key, before, after) is None
