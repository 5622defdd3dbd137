"""The files of an evaluation: what is in them, that a row is there whole or not at all, that settings do not mix."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from p2be_exp.errors import BadInput
from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.results import Results, Row
from p2be_exp.system import atomic

FOG = Condition("corruption", "fog", severity=3)
PGD = Condition("attack", "pgd_ce_secant", eps_levels=8, gradient="secant")
SETTINGS = {"dataset": "digits", "seed": 0, "corruption": {"name": "none"}, "steps": [1, 2]}

# DESIGN.md, section 5.
COLUMNS = "condition,kind,name,severity,eps_levels,gradient,n,n_wrong,error,ci_low,ci_high,seconds"
SUMMARY = {
    "clean_error",
    "mean_corruption_error",
    "mce",
    "relative_mce",
    "corruptions",
    "attacks",
    "worst_case_error",
    "worst_case",
    "sanity",
    "settings",
}


def images(n: int, n_wrong: int) -> dict[str, np.ndarray]:
    wrong = np.arange(n) < n_wrong
    label = np.arange(n) % 3
    return {
        "index": np.arange(n) * 2,
        "label": label,
        "prediction": np.where(wrong, label + 1, label),
        "confidence": np.full(n, 0.75, dtype=np.float32),
        "wrong": wrong,
    }


def add(results: Results, condition: Condition, n: int = 500, n_wrong: int = 12, seconds: float = 1.23456) -> Row:
    row = Row.of(condition, n, n_wrong, seconds)
    results.add(row, images(n, n_wrong))
    return row


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def interval(n_wrong: int, n: int) -> tuple[str, str]:
    """SciPy's interval in percent, as the files print it."""
    ends = binomtest(n_wrong, n).proportion_ci(method="wilson")
    return tuple(f"{100 * end:.4f}".rstrip("0") for end in (ends.low, ends.high))


def test_ids_of_conditions():
    assert [condition.id for condition in (CLEAN, FOG, PGD)] == ["clean", "corruption/fog/3", "attack/pgd_ce_secant/8"]


@pytest.mark.parametrize(("n", "n_wrong"), [(500, 12), (3, 0), (3, 3), (10_000, 3_333)])
def test_a_row_from_its_counts(n, n_wrong):
    row = Row.of(PGD, n, n_wrong, 2.0)
    ends = binomtest(n_wrong, n).proportion_ci(method="wilson")
    assert (row.n, row.n_wrong, row.seconds) == (n, n_wrong, 2.0)
    assert row.error == pytest.approx(100 * n_wrong / n, abs=5e-5)
    assert (row.ci_low, row.ci_high) == pytest.approx((100 * ends.low, 100 * ends.high), abs=5e-5)
    assert (row.kind, row.name, row.severity, row.eps_levels, row.gradient) == (
        "attack",
        "pgd_ce_secant",
        None,
        8,
        "secant",
    )


def test_rows_are_read_back_as_they_were_written(tmp_path):
    results = Results(tmp_path, SETTINGS)
    rows = [add(results, CLEAN), add(results, FOG, n_wrong=100), add(results, PGD, n=7, n_wrong=7)]
    again = Results(tmp_path, SETTINGS)
    assert again.rows == {row.condition: row for row in rows}
    assert again.summary()["conditions"] == results.summary()["conditions"]


def test_a_process_that_only_computes_leaves_nothing(tmp_path):
    """Its half-written file could be taken away under its hands by the one that writes."""
    add(Results(tmp_path, SETTINGS), CLEAN)
    before = content(tmp_path)
    assert list(Results(tmp_path, SETTINGS, writes=False).rows) == ["clean"]
    assert content(tmp_path) == before
    Results(tmp_path / "new", SETTINGS, writes=False)
    assert not (tmp_path / "new").exists()


def test_the_columns_of_the_contract(tmp_path):
    results = Results(tmp_path, SETTINGS)
    add(results, CLEAN)
    add(results, FOG)
    text = (tmp_path / "results.csv").read_text()
    assert text.splitlines()[0] == COLUMNS
    clean, fog = csv.DictReader(text.splitlines())
    assert clean["condition"] == clean["kind"] == "clean"
    assert clean["name"] == clean["severity"] == clean["eps_levels"] == clean["gradient"] == ""
    assert (fog["condition"], fog["name"], fog["severity"]) == ("corruption/fog/3", "fog", "3")
    low, high = interval(12, 500)
    keys = ("n", "n_wrong", "error", "ci_low", "ci_high", "seconds")
    assert [clean[key] for key in keys] == ["500", "12", "2.4", low, high, "1.235"]


def test_every_row_is_on_disk_at_once_after_its_images(tmp_path, monkeypatch):
    results = Results(tmp_path, SETTINGS)
    order = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: order.append(Path(to).name) or replace(self, to))
    add(results, FOG)
    assert order == ["corruption-fog-3.npz", "results.csv", "results.json"]
    assert list(Results(tmp_path, SETTINGS).rows) == ["corruption/fog/3"]


def test_arrays_of_single_images(tmp_path):
    add(Results(tmp_path, SETTINGS), PGD, n=9, n_wrong=4)
    with np.load(tmp_path / "per_image" / "attack-pgd_ce_secant-8.npz") as saved:
        assert set(saved) == {"index", "label", "prediction", "confidence", "wrong"}
        for name, values in images(9, 4).items():
            np.testing.assert_array_equal(saved[name], values)


def test_what_is_missing(tmp_path):
    results = Results(tmp_path, SETTINGS)
    assert results.missing([CLEAN, FOG, PGD]) == [CLEAN, FOG, PGD]
    add(results, FOG)
    assert results.missing([CLEAN, FOG, PGD]) == [CLEAN, PGD]
    assert Results(tmp_path, SETTINGS).missing([PGD, FOG, CLEAN]) == [PGD, CLEAN]


def test_the_summary(tmp_path):
    results = Results(tmp_path, SETTINGS)
    before = json.loads((tmp_path / "results.json").read_text())
    assert before["clean_error"] is None
    add(results, FOG)
    row = add(results, CLEAN)
    summary = json.loads((tmp_path / "results.json").read_text())
    assert SUMMARY | {"format_version", "versions", "written"} <= set(summary)
    assert summary["format_version"] == 1
    assert summary["clean_error"] == row.error == 2.4
    assert summary["settings"] == SETTINGS
    assert summary["versions"]["torch"]
    assert summary["mce"] is summary["relative_mce"] is None  # null for anything but the complete ImageNet-C
    low, high = (float(end) for end in interval(12, 500))
    calibration = {"ece": 22.6, "rms_calibration_error": 22.6}  # 75 % sure, 97.6 % right
    expected = {"n": 500, "n_wrong": 12, "error": 2.4, "ci_low": low, "ci_high": high, **calibration}
    assert summary["conditions"] == {"corruption/fog/3": expected, "clean": expected}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"seed": 1}, "seed=0"),
        ({"corruption": {"name": "generated"}}, "corruption={'name': 'none'}"),
        ({"steps": [1, 3]}, r"steps=\[1, 2\]"),
        ({"limit_test": 5}, "limit_test=None"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, changed, told):
    folder = tmp_path / "mine"
    add(Results(folder, SETTINGS), CLEAN)
    before = content(folder)
    with pytest.raises(BadInput, match=rf"^name=mine: holds results of other settings \({told}\)"):
        Results(folder, {**SETTINGS, **changed})
    assert content(folder) == before
    assert "\n" not in told


def test_a_setting_that_is_gone_is_refused_too(tmp_path):
    Results(tmp_path, SETTINGS)
    fewer = {key: value for key, value in SETTINGS.items() if key != "seed"}
    with pytest.raises(BadInput, match=r"hydra.run.dir=.*seed=0"):
        Results(tmp_path, fewer, key="hydra.run.dir")


def test_tuples_are_the_settings_that_lists_are(tmp_path):
    add(Results(tmp_path, {"steps": (1, 2)}), CLEAN)
    assert list(Results(tmp_path, {"steps": [1, 2]}).rows) == ["clean"]


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, moves):
    results = Results(tmp_path, SETTINGS)
    row = add(results, CLEAN)
    before = content(tmp_path)
    done = []
    replace = Path.replace

    def stopped(self, to):
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(to)
        return replace(self, to)

    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        add(results, FOG)
    monkeypatch.undo()
    after = content(tmp_path)
    written = {str(Path(path).relative_to(tmp_path)) for path in done}
    assert set(after) == set(before) | written  # nothing half written is left over
    assert all(after[name] == before[name] for name in before if name not in written)
    again = Results(tmp_path, SETTINGS)
    assert again.rows["clean"] == row
    assert again.missing([CLEAN, FOG]) == ([FOG] if moves < 2 else [])


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def denied(path, text):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic, "write_text", denied)
    with pytest.raises(BadInput, match="cannot be written"):
        Results(tmp_path / "x", SETTINGS)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        Results(tmp_path / "file" / "x", SETTINGS)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("results.json", "{"),
        ("results.json", "{}"),
        ("results.csv", "condition\nclean\n"),
        ("results.csv", "a,b\n1,2\n"),
    ],
)
def test_damaged_files_are_named(tmp_path, file, text):
    Results(tmp_path, {"seed": 0})
    (tmp_path / file).write_text(text)
    with pytest.raises(BadInput, match=f"{file} is damaged"):
        Results(tmp_path, {"seed": 0})
