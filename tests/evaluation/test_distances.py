"""Distances of attacks without a radius: their row, their file, their place in the results, and nowhere else."""

import csv
import doctest
import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy.stats import binomtest

from p2be_exp.errors import BadInput
from p2be_exp.evaluation import distances as module
from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.distances import DistanceRow, quantile, read_rows, table_of
from p2be_exp.evaluation.results import Results, Row, check_results
from p2be_exp.evaluation.table import results_table

CW = Condition("distance", "foolbox_L2CarliniWagnerAttack_secant", gradient="secant")
HSJ = Condition("distance", "foolbox_HopSkipJumpAttack")
SETTINGS = {"dataset": "digits", "seed": 0}
COLUMNS = (
    "condition,name,norm,gradient,n,n_wrong,n_broken,broken,ci_low,ci_high,"
    "levels_q10,levels_q25,levels_median,levels_q75,levels_q90,unit_q10,unit_q25,unit_median,unit_q75,unit_q90,seconds"
)
FOUND = [0.0, 0.0, 3.5, 4.25, 10.0, 51.0, 102.0, math.inf, 20.0, math.inf]


def images(distance, zero_gradient=None):
    distance = np.array(distance, dtype=np.float64)
    broken, label = np.isfinite(distance), np.arange(len(distance)) % 3
    arrays = {
        "index": np.arange(len(distance)),
        "label": label,
        "prediction": np.where(broken, label + 1, label),
        "confidence": np.full(len(distance), 0.75, dtype=np.float32),
        "wrong": broken,
        "distance": distance,
    }
    return arrays | ({} if zero_gradient is None else {"zero_gradient": np.array(zero_gradient, dtype=np.float32)})


def results_with_both(folder):
    results = Results(folder, SETTINGS, nearest=[CW, HSJ])
    results.add(Row.of(CLEAN, 10, 2, 1.0), {key: images(FOUND)[key] for key in ("index", "label", "confidence")}
                | {"prediction": np.zeros(10, dtype=int), "wrong": np.arange(10) < 2})  # fmt: skip
    results.add_distance(CW, images(FOUND, [math.nan] * 2 + [0.25] * 8), 3.25)
    results.add_distance(HSJ, images([0.0] * 2 + [math.inf] * 8), 1.0)
    return results


def test_ids():
    assert CW.id == "distance/foolbox_L2CarliniWagnerAttack_secant"


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 101])
def test_a_quantile_is_the_smallest_distance_within_which_so_many_are(n):
    generator = np.random.default_rng(n)
    distance = np.where(generator.random(n) < 0.3, np.inf, generator.integers(0, 5, n).astype(float))
    for percent in (1, 10, 25, 50, 75, 90, 100):
        wanted = min(each for each in distance if 100 * (distance <= each).sum() >= percent * n)
        assert quantile(distance, percent) == wanted
    assert doctest.testmod(module).failed == 0


def test_the_row_of_an_attack():
    row = DistanceRow.of(CW, np.array(FOUND), 3.25)
    assert (row.n, row.n_wrong, row.n_broken, row.broken) == (10, 2, 8, 80.0)
    ends = binomtest(8, 10).proportion_ci(method="wilson")
    assert (row.ci_low, row.ci_high) == pytest.approx((100 * ends.low, 100 * ends.high), abs=5e-5)
    in_levels = [getattr(row, f"levels_{name}") for name in module.QUANTILES]
    assert in_levels == [0.0, 3.5, 10.0, 102.0, None]  # of ten, the first, third, fifth, eighth and ninth
    in_unit = [getattr(row, f"unit_{name}") for name in module.QUANTILES]
    assert in_unit == [None if each is None else pytest.approx(each / 255, abs=5e-7) for each in in_levels]


def test_rows_are_read_back_as_they_were_written(tmp_path):
    rows = [DistanceRow.of(CW, np.array(FOUND), 3.25), DistanceRow.of(HSJ, np.full(4, np.inf), 1.0)]
    (tmp_path / "distances.csv").write_text(table_of(rows))
    assert read_rows(tmp_path / "distances.csv") == {row.condition: row for row in rows}
    assert (tmp_path / "distances.csv").read_text().splitlines()[0] == COLUMNS
    assert read_rows(tmp_path / "none.csv") == {}


def test_they_have_a_file_and_an_entry_of_their_own(tmp_path):
    results = results_with_both(tmp_path)
    assert {row["condition"] for row in csv.DictReader((tmp_path / "results.csv").read_text().splitlines())} == {
        "clean"
    }
    summary = json.loads((tmp_path / "results.json").read_text())
    assert set(summary["conditions"]) == {"clean"}
    assert summary["attacks"] == {}
    assert summary["worst_case_error"] is None
    entry = summary["distances"][CW.name]
    assert entry["zero_gradient"] == 0.25
    assert (entry["norm"], entry["gradient"], entry["n_broken"], entry["broken"]) == ("L2", "secant", 8, 80.0)
    assert entry["levels"] == {"q10": 0.0, "q25": 3.5, "median": 10.0, "q75": 102.0, "q90": None}
    assert entry["unit"]["q75"] == 0.4
    assert summary["distances"][HSJ.name]["gradient"] is None
    assert "zero_gradient" not in summary["distances"][HSJ.name]
    assert results.missing([CLEAN, CW, HSJ]) == []


def test_an_evaluation_goes_on_with_those_that_are_missing(tmp_path):
    first = Results(tmp_path, SETTINGS, nearest=[CW, HSJ])
    assert first.summary()["distances"] == {CW.name: None, HSJ.name: None}
    first.add_distance(CW, images(FOUND), 3.25)
    again = Results(tmp_path, SETTINGS, nearest=[CW, HSJ])
    assert again.missing([CW, HSJ]) == [HSJ]
    again.add_distance(HSJ, images(FOUND), 1.0)
    assert list(Results(tmp_path, SETTINGS).distances) == [CW.id, HSJ.id]
    check_results(tmp_path, "name", SETTINGS)


def test_a_row_is_there_after_its_images_and_before_the_summary(tmp_path, monkeypatch):
    results, order = Results(tmp_path, SETTINGS, nearest=[CW]), []
    replace = type(tmp_path).replace
    monkeypatch.setattr(type(tmp_path), "replace", lambda self, to: order.append(to.name) or replace(self, to))
    results.add_distance(CW, images(FOUND), 3.25)
    assert order == [f"distance-{CW.name}.npz", "distances.csv", "results.json"]


def test_rows_of_another_process_stay(tmp_path):
    mine, other = (Results(tmp_path, SETTINGS, nearest=[CW, HSJ]) for _ in range(2))
    other.add_distance(HSJ, images(FOUND, [0.5] * 10), 1.0)
    mine.add_distance(CW, images(FOUND), 3.25)
    assert set(read_rows(tmp_path / "distances.csv")) == {CW.id, HSJ.id}
    assert mine.summary()["distances"][HSJ.name]["zero_gradient"] == 0.5


def test_without_such_attacks_nothing_is_different(tmp_path):
    results = Results(tmp_path, SETTINGS)
    assert "distances" not in results.summary()
    assert not (tmp_path / "distances.csv").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("norm,", ""), "distances.csv is damaged"),
        (lambda text: text.replace(",80.0,", ",x,"), "distances.csv is damaged"),
        (lambda text: text + text.splitlines()[1] + "\n", "distances.csv is damaged"),
        (lambda text: text.replace("distance/", "attack/"), "distances.csv is damaged"),
        (lambda text: text.replace("seconds\n", "seconds,more\n"), "distances.csv is damaged"),
        (lambda text: text.replace(",10.0,", ",11.0,"), "per_image is damaged"),
        (lambda text: text.replace(",2,8,", ",1,8,"), "per_image is damaged"),
        (lambda text: text.replace(",2,8,", ",2,7,"), "per_image is damaged"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage, message):
    Results(tmp_path, SETTINGS, nearest=[CW]).add_distance(CW, images(FOUND), 3.25)
    file = tmp_path / "distances.csv"
    file.write_text(damage(file.read_text()))
    for read in (lambda: Results(tmp_path, SETTINGS), lambda: check_results(tmp_path, "name", SETTINGS)):
        with pytest.raises(BadInput, match=message):
            read()


def test_distances_that_are_none_are_refused(tmp_path):
    row = DistanceRow.of(CW, np.array(FOUND), 3.25)
    for wrong in (np.array(FOUND)[1:], np.arange(10), -np.array(FOUND)):
        with pytest.raises(ValueError, match="distance"):
            module.check_distances(row, wrong)
    module.check_distances(row, np.array(FOUND))


def test_the_printed_table(tmp_path):
    lines = results_table(results_with_both(tmp_path).summary()).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("L2 distance"))
    assert "no part of any worst case" in lines[start]
    header, cw, cw_unit, hsj, hsj_unit = (line.split() for line in lines[start + 1 : start + 6])
    assert header == ["attack", "found", "%", "10", "%", "25", "%", "median", "75", "%", "90", "%"]
    assert cw[:8] == [CW.name, "80.00", "0.00", "3.50", "10.00", "102.00", "-", "levels"]
    assert " ".join(cw[8:]) == "gradient secant, 25.0 % of it 0"
    assert cw_unit[:5] == ["0.0000", "0.0137", "0.0392", "0.4000", "-"]
    assert hsj[:7] == [HSJ.name, "20.00", "0.00", "-", "-", "-", "-"]
    assert " ".join(hsj[8:]) == "no gradient"
    assert hsj_unit[:2] == ["0.0000", "-"]


def test_a_row_in_the_making_is_not_printed():
    nothing = {"conditions": {}, "attacks": {}, "worst_case_error": None, "sanity": None, "corruptions": {}}
    lines = results_table({**nothing, "distances": {CW.name: None}}).splitlines()
    assert not any(CW.name in line for line in lines)


def test_every_field_is_a_column():
    assert list(asdict(DistanceRow.of(CW, np.array(FOUND), 1.0))) == COLUMNS.split(",")
