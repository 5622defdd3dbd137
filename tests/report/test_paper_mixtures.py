"""Mixtures among the runs of a report: which belong together, what was measured of them, where they are shown."""

import json

import pytest

from measured_runs import recipe_of, write_recipe
from p2be_exp.config.parts import GROUPS
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.mixtures import find_pairs
from p2be_exp.report.paper.other_methods import MIXTURES_WARNING, published_mixtures_csv
from p2be_exp.report.paper.page import page
from p2be_exp.report.paper.write import make_report, report_text, write_report

NETWORK = "encoding=rgb backbone=wrn16_1 dataset=digits"
SUITE = {"name": "suite_short", "eps_levels": [8], "steps": 10, "save_images": False}


def write_part(folder, regime, clean, worst, **more):
    recipe = f"{NETWORK} regime={regime}"
    write_recipe(
        folder, recipe, {"clean": clean}, n=200, worst_case=worst, dataset="digits", **{"attack": SUITE} | more
    )


def write_mix(
    folder, alpha, clean, worst=None, parts=("acc", "rob"), digests=True, errors=None, model="mix", keys="", **more
):
    """A run as ``model=mix`` or another one of two parts leaves it."""
    nodes = {group: recipe_of(NETWORK)[group] for group in GROUPS}
    filled_in = json.dumps({"accurate": nodes, "robust": nodes}, separators=(",", ":"))
    named = " ".join(f"model.{role}={part}" for role, part in zip(("accurate", "robust"), parts, strict=True))
    overrides = f"{NETWORK} model={model} model.alpha={alpha} {named} {keys} model.parts={filled_in}"
    facts = {
        role: {"path": part, "regime": {"name": regime}} | ({"checkpoint_sha256": part} if digests else {})
        for role, part, regime in zip(("accurate", "robust"), parts, ("standard", "trades"), strict=True)
    }
    settings = {"attack": SUITE, "facts": {"parts": facts}, "dataset": "digits"} | more
    write_recipe(folder, overrides, {"clean": clean} | (errors or {}), n=200, worst_case=worst, **settings)


def pairs(*folders):
    return find_pairs(gather(folders)[0])


def errors(point):
    return point.clean.error, {radius: counts.error for radius, counts in point.attacked.items()}


@pytest.fixture
def mixed(workdir):
    """Two parts and three mixtures of them."""
    write_part("acc", "standard", 4.0, 75.0)
    write_part("rob", "trades", 4.5, 13.5)
    for number, (alpha, worst) in enumerate({0.7: 15.0, 0.45: 48.0, 1: 13.0}.items()):
        write_mix(f"m{number}", alpha, 3.0 + number, worst)
    return ["acc", "rob", "m0", "m1", "m2"]


def test_mixtures_of_two_runs_are_one_curve_over_alpha(mixed):
    (pair,) = pairs(*mixed)
    assert [(each.label, each.alpha) for each in pair.points] == [
        ("alpha = 0.45", 0.45), ("alpha = 0.7", 0.7), ("alpha = 1", 1),
    ]  # fmt: skip
    assert [errors(each) for each in pair.points] == [(4.0, {8: 48.0}), (3.0, {8: 15.0}), (5.0, {8: 13.0})]
    assert {role: errors(each) for role, each in pair.alone.items()} == {
        "accurate": (4.0, {8: 75.0}), "robust": (4.5, {8: 13.5}),
    }  # fmt: skip
    assert [part.trained for part in pair.parts.values()] == ["standard, RGB, wrn16_1", "TRADES, RGB, wrn16_1"]


def test_other_parts_and_other_measurements_are_other_curves(mixed):
    write_mix("x0", 0.5, 3.0, 20.0, parts=("acc", "other"))
    write_mix("x1", 0.5, 3.0, 20.0, attack=SUITE | {"steps": 20})
    write_mix("x2", 0.5, 3.0, 20.0, precision="bf16-mixed")
    write_mix("x3", 0.5, 3.0, 20.0, attack=SUITE | {"save_images": True})  # of no account
    found = pairs(*mixed, "x0", "x1", "x2", "x3")
    assert [len(pair.points) for pair in found] == [4, 1, 1, 1]
    assert [set(pair.alone) for pair in found] == [{"accurate", "robust"}, {"accurate"}, set(), set()]


def test_without_digests_parts_are_told_by_their_folders(workdir):
    for name, alpha, part in (("a", 0.5, "rob"), ("b", 0.6, "rob"), ("c", 0.6, "other")):
        write_mix(name, alpha, 3.0, 20.0, parts=("acc", part), digests=False)
    assert [len(pair.points) for pair in pairs("a", "b", "c")] == [2, 1]


def test_the_same_mixture_twice_counts_once(mixed):
    write_mix("x", 0.7, 9.0, 90.0)
    (pair,) = pairs(*mixed, "x")
    assert [str(second.folder) for _, second in pair.doubles] == ["x"]
    assert errors(pair.points[1]) == (3.0, {8: 15.0})


def test_other_mixtures_are_beside_the_curve_and_other_scales_are_another(mixed):
    constants = "model.scale=5 model.shift=-1.1 model.power=4 model.surrogate_alpha=0.95"
    write_mix("x0", 0.999, 3.0, 14.0, model="nuts_mix", keys=constants)
    write_mix("x1", 0.998, 4.0, 15.0, model="nuts_mix", keys=constants)
    write_mix("x2", 0.5, 3.0, 20.0, keys="model.robust_scale=2")
    first, second = pairs(*mixed, "x0", "x1", "x2")
    assert [each.label for each in first.others] == ["MixedNUTS", "MixedNUTS (x1)"]
    assert [errors(each) for each in first.others] == [(3.0, {8: 14.0}), (4.0, {8: 15.0})]
    assert [each.alpha for each in first.over_alpha] == [0.45, 0.7, 1]
    assert [each.label for each in second.rows] == ["accurate part alone", "alpha = 0.5", "robust part alone"]


def test_of_a_single_attack_the_highest_row_at_a_radius_counts(workdir):
    rows = {"attack/random/8": 9.0, "attack/lspga/8": 12.0, "attack/lspga/16": 30.0, "attack/random/16": 10.0}
    write_mix("a", 0.5, 3.0, errors=rows, attack={"name": "lspga", "eps_levels": [8, 16]})
    (pair,) = pairs("a")
    assert errors(pair.points[0]) == (3.0, {8: 12.0, 16: 30.0})
    assert not pair.worst_case


def test_a_suite_that_is_not_complete_gives_no_error(workdir):
    write_mix("a", 0.5, 3.0, errors={"attack/lspga/8": 12.0})
    assert errors(pairs("a")[0].points[0]) == (3.0, {})


# -- in the report ----------------------------------------------------------------------------------------------------


def test_they_have_a_section_and_are_in_no_table(mixed, tmp_path):
    write_mix("x", 0.5, 3.0, 20.0, parts=("acc", "other"))
    report = make_report([*mixed, "x"])
    tables = {str(result.folder) for section in report.sections for result in section.table.results}
    assert tables == {"acc", "rob"}  # TRADES has its table, and plain training is what it is compared with
    assert [section.grid.id for section in report.mixtures] == ["mixing", "mixing-2"]
    assert [len(section.pictures) for section in report.mixtures] == [1, 0]
    assert [section.published is not None for section in report.mixtures] == [False, True]
    write_report(report, tmp_path / "out")
    for file in ("index.html", "report.md", "tables/mixing-published.tex"):
        assert MIXTURES_WARNING.split(":")[0] in (tmp_path / "out" / file).read_text()
    assert (tmp_path / "out" / "tables" / "mixing-published.csv").read_text() == published_mixtures_csv()
    written = {file.name for file in (tmp_path / "out").rglob("mixing*")}
    assert written >= {"mixing.csv", "mixing.tex", "mixing-2.csv", "mixing-2.tex", "mixing.svg"}
    assert "Mixtures as published: on the page" in report_text(report)
    assert page("T", [], report).count('<section id="mixing') == 3


def test_parts_without_a_table_are_not_among_what_is_left(workdir):
    small = {"name": "mixing", "scale": "small"}
    write_part("acc", "standard", 4.0, 75.0, sweep=small)
    write_mix("m", 0.5, 3.0, 20.0, sweep=small)
    assert make_report(["acc", "m"]).sections == []
    assert [section.table.spec.id for section in make_report(["acc"]).sections] == ["other"]


def test_the_table_of_a_mixture_is_its_parts(workdir):
    write_mix("m", 0.5, 3.0, 20.0, keys="encoding=p2be")
    report = make_report(["m"])
    assert (report.results[0].config.encoding.name, list(report.maps), list(report.notes)) == ("p2be", [], [])
