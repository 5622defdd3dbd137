"""What a leaderboard reads of a results.json, and what it refuses, in one line that says what is allowed."""

import json
from typing import get_args

import numpy as np
import pytest

from leaderboard_entries import CHECK, N, row, summary_of, with_corruptions, write_entry
from measured_runs import settings_of, write_run
from p2be_exp.corruptions.names import SEVERITIES, TEST
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.measures import ALEXNET, Plan
from p2be_exp.evaluation.results import Results, Row
from p2be_exp.evaluation.sanity.checks import Verdict
from p2be_exp.report.leaderboard.conditions import interval
from p2be_exp.report.leaderboard.sanity import VERDICTS
from p2be_exp.report.leaderboard.submission import read_submission
from p2be_exp.report.leaderboard.trained import Trained
from p2be_exp.report.measured import Counts


def read(tmp_path, summary, entry=None):
    return read_submission(write_entry(tmp_path / "one", summary, entry) / "results.json", tmp_path)


def refusal(tmp_path, summary):
    with pytest.raises(BadInput) as caught:
        read(tmp_path, summary)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{tmp_path}/one/results.json: ")
    return message.partition(": ")[2]


def changed(summary, key, value):
    *parents, last = key.split("/")
    node = summary
    for parent in parents:
        node = node[int(parent) if isinstance(node, list) else parent.replace("|", "/")]
    if value is ...:
        del node[last.replace("|", "/")]
    else:
        node[last.replace("|", "/")] = value
    return summary


def test_an_evaluation_as_this_version_writes_it(tmp_path):
    """Every number of the summary is found again from the counts."""
    generator = np.random.default_rng(0)
    attack = Condition("attack", "pgd_ce_secant", eps_levels=8, gradient="secant")
    plan = Plan("generated", "digits", ("fog", "frost"), (1, 3), {"frost": "no textures"}, ("fog",))
    settings = settings_of(attack={"name": "suite"}, corruption={"name": "generated", "names": ["fog", "frost"]})
    results = Results(tmp_path / "one", settings, plan=plan, attacks=[attack])
    for condition in (CLEAN, Condition("corruption", "fog", 1), Condition("corruption", "fog", 3), attack):
        wrong = (generator.random(N) < 0.2) | results.wrong().get("clean", False)
        index = np.arange(N)
        arrays = {"index": index, "label": index % 10, "prediction": (index + wrong) % 10, "wrong": wrong}
        results.add(Row.of(condition, N, int(wrong.sum()), 0.1), arrays | {"confidence": np.full(N, 0.5)})
    found, summary = read_submission(results.summary_file, tmp_path), results.summary()
    assert found.clean.error == pytest.approx(summary["clean_error"], abs=1e-4)
    assert found.corrupted.mean == pytest.approx(summary["mean_corruption_error"], abs=1e-4)
    assert found.corrupted.over == summary["corruptions"]["mean"]["over"]
    assert found.corrupted.origin == "1 of 1 corruptions identical to the published files, made here"
    assert found.panel.verdict == "not measured"
    assert (found.images.dataset, found.images.n, found.images.subset) == ("digits", N, None)
    assert found.place == found.entry.name == "one"


def test_the_worst_case_is_in_counts(tmp_path):
    found = read(tmp_path, summary_of(10, {4: 20, 8: 33}))
    assert found.worst_case.counts == {4: Counts(20, N), 8: Counts(33, N)}
    assert found.worst_case.attacks[8] == ("pgd_ce_secant", "square")
    assert not found.worst_case.short
    low, high = interval(found.worst_case.counts[8])
    assert (round(low, 2), round(high, 2)) == (12.0, 22.27)  # of 33 in 200, by hand


def test_results_without_a_suite_have_no_worst_case(tmp_path):
    alone = summary_of(10, {8: 33}) | {"worst_case": None, "worst_case_error": None}
    assert read(tmp_path, alone).worst_case is None


@pytest.mark.parametrize(("attack", "expected"), [("suite", False), ("suite_short", True), ("pgd", None)])
def test_older_results_name_their_suite_in_the_settings(tmp_path, attack, expected):
    older = changed(summary_of(10, {8: 33}, suite=attack), "worst_case", ...)
    found = read(tmp_path, older).worst_case
    assert (found and found.short) is expected
    assert found is None or found.attacks == {8: ("pgd_ce_secant", "square")}


def test_older_results_without_attacks(tmp_path):
    older = changed(summary_of(10), "worst_case", ...) | {"worst_case_error": {}}
    assert read(tmp_path, older).worst_case is None


def test_a_radius_that_is_not_complete_is_not_there(tmp_path):
    summary = changed(summary_of(10, {4: 20, 8: 33}), "worst_case_error/8", None)
    assert list(read(tmp_path, summary).worst_case.counts) == [4]


def test_nothing_measured_yet(tmp_path):
    assert read(tmp_path, summary_of() | {"conditions": {}, "clean_error": None}) is None


def test_corruptions(tmp_path):
    found = read(tmp_path, with_corruptions(summary_of(), identical=["fog"])).corrupted
    assert (found.mean, found.mce, found.source) == (17.5, None, "generated")
    assert found.over == "2 of 15 corruptions x 2 of 5 severities"
    assert found.origin == "1 of 2 corruptions identical to the published files, 1 made here"
    assert "frost" in found.missing


def test_the_mce_of_imagenet_c(tmp_path):
    """Given as ImageNet-C; older results call it official."""
    summary = summary_of(n=50_000, dataset="imagenet")
    summary["conditions"] |= {
        f"corruption/{name}/{severity}": row(25_000, 50_000) for name in TEST for severity in SEVERITIES
    }
    mce = sum(100 * 50 / ALEXNET[name] for name in TEST) / len(TEST)
    relative = sum(100 * (50 - 0.02) / (ALEXNET[name] - 43.478) for name in TEST) / len(TEST)
    summary |= {"mean_corruption_error": 50.0, "mce": mce, "relative_mce": relative}
    summary["corruptions"] = {"source": "official", "severities": list(SEVERITIES), "left_out": {}}
    found = read(tmp_path, summary).corrupted
    assert (found.source, round(found.mce, 3)) == ("given", round(mce, 3))
    assert found.origin == "given as ImageNet-C, not verified"
    claimed = changed(summary, "conditions/corruption|fog|5", ...)
    assert refusal(tmp_path, claimed).startswith("mean_corruption_error=50.0: must be null")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("format_version", 2, "format_version=2: must be 1"),
        ("format_version", ..., "format_version is missing, must be 1"),
        ("conditions", ..., "conditions is missing, must be a mapping"),
        ("conditions/clean/n", 0, "conditions.clean.n=0: must be a whole number between 1 and"),
        ("conditions/clean/n", True, "conditions.clean.n=true: must be"),
        ("conditions/clean/n_wrong", 201, "conditions.clean.n_wrong=201: must be a whole number between 0 and 200"),
        ("conditions/clean/error", 4.0, "conditions.clean.error=4.0: must be 5.0000, as 10 of 200 images make it"),
        ("conditions/clean/error", float("nan"), "conditions.clean.error=NaN: must be a number between"),
        ("clean_error", 4.0, "clean_error=4.0: must be 5.0000, as the counts of clean images make it"),
        ("clean_error", None, "clean_error=null: must be a number"),
        ("conditions/other", {}, "conditions.other={}: must be one of clean, corruption/NAME/SEVERITY"),
        ("worst_case_error/8", 16.3, "worst_case_error.8=16.3: must be a share of the 200 images in percent"),
        ("worst_case_error/8", 16.0, "worst_case_error.8=16.0: must be at least 16.5000, the error of a row"),
        ("worst_case_error/8", "16", 'worst_case_error.8="16": must be a number between 0 and 100'),
        ("worst_case_error/x", 1.0, "worst_case_error.x=1.0: must be by radius, a whole number of levels up to 255"),
        ("worst_case/suite", "mine", 'worst_case.suite="mine": must be one of suite, suite_short'),
        ("worst_case/attacks", {}, "worst_case.attacks.8 is missing, must be a list"),
        ("sanity/0/verdict", "fine", 'sanity.0.verdict="fine": must be one of failed, suspicious, ok, not measured'),
        ("sanity/0/detail", ..., "sanity.0.detail is missing, must be a text"),
        ("sanity", "ok", 'sanity="ok": must be a list'),
        ("settings", [], "settings=[]: must be a mapping"),
        ("settings/dataset", "\x1b[31m", 'settings.dataset="\\u001b[31m": must be the name of a data set'),
        ("settings/dataset", ..., "settings.dataset is missing, must be the name of a data set"),
        ("mean_corruption_error", 1.0, "mean_corruption_error=1.0: must be 17.5000, as the counts of its conditions"),
        ("mce", 50.0, "mce=50.0: must be null"),
        ("corruptions/source", "mine", 'corruptions.source="mine": must be one of official, given, own, generated'),
        ("corruptions/severities/0", 9, "corruptions.severities.0=9: must be a whole number between 1 and 5"),
    ],
)  # fmt: skip
def test_a_damaged_or_foreign_file(tmp_path, key, value, told):
    summary = with_corruptions(summary_of(10, {8: 33}))
    if key == "corruptions/severities/0":
        summary["corruptions"]["severities"] = [9]
    else:
        changed(summary, key, value)
    assert refusal(tmp_path, summary).startswith(told)


@pytest.mark.parametrize("text", ["{", "[1]", '"results"', "[" * 100_000, "\udc80"])
def test_no_results_at_all(tmp_path, text):
    write_entry(tmp_path / "one")
    (tmp_path / "one" / "results.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadInput, match=r"results\.json: .*must be|results\.json: \[1\]: must be a mapping"):
        read_submission(tmp_path / "one" / "results.json", tmp_path)


def test_the_worst_case_grows_with_the_radius(tmp_path):
    summary = summary_of(10, {4: 40, 8: 50})
    summary["conditions"]["attack/pgd_ce_secant/8"] = row(30)
    assert read(tmp_path, summary).worst_case.counts[8] == Counts(50, N)
    summary["worst_case_error"]["8"] = 15.0
    assert refusal(tmp_path, summary).startswith("worst_case_error.8=15.0: must be at least 20.0000")


def test_the_panel_of_a_leaderboard_knows_every_verdict(tmp_path):
    assert set(VERDICTS) == set(get_args(Verdict))
    checks = [CHECK, CHECK | {"verdict": "suspicious"}, CHECK | {"verdict": "not measured"}]
    panel = read(tmp_path, summary_of(10, {8: 33}, sanity=checks)).panel
    assert (panel.verdict, panel.counts) == ("suspicious", {"suspicious": 1, "ok": 1, "not measured": 1})


@pytest.mark.parametrize("folder", ["run", "run/evaluations/mine"])
def test_what_was_trained(tmp_path, folder):
    write_run(tmp_path / "run", encoding__name="rgb")
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "results.json").write_text(json.dumps(summary_of()))
    found = read_submission(tmp_path / folder / "results.json", tmp_path)
    assert found.trained == Trained("rgb", "wrn16_1", "standard")
    assert found.entry.name == folder


@pytest.mark.parametrize("text", ["{", "encoding: 3", "encoding: {name: [a]}", ""])
def test_a_configuration_that_cannot_be_read_says_nothing(tmp_path, text):
    (write_entry(tmp_path / "one") / "config.yaml").write_text(text)
    assert read_submission(tmp_path / "one" / "results.json", tmp_path).trained is None
