"""Four stored cases: to the bit on a machine like the one they were stored on, elsewhere as far as rounding allows.

Where the first half cannot be asked, it is skipped with the reason.
"""

import functools
import os

import pytest
from compare import compared, differences, told
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
    assert compared({"found": {"a": nan}}, {"found": {"a": nan}}) == ("equal", [])
    last_bit = 0.2 + 2**-55
    assert compared({"found": found}, {"found": found | {"step 2: ce": last_bit}}) == (
        "DIFFERS",
        [f"step 2: ce: 0.2 before, {told(last_bit)} after"],
    )
    assert compared({"found": found}, {"found": {"step 1: ce": 0.1}})[1] == ["step 2: ce: 0.2 before, missing after"]
    assert compared({"found": {}}, {"found": {}})[0] == "BROKEN"
    assert compared({"found": found}, {"broken": "train.py: exit code 1"})[0] == "BROKEN"
    assert compared({"found": found}, {"skipped": "no such example"})[0] == "skipped"
