"""What cannot be used is told of and stops nothing: stopped runs, files of another form, unknown names."""

import json

import pytest

from measured_runs import OFFICIAL, write_counts, write_recipe
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.write import make_report, report_text


def reason(*arguments):
    """Why the run of these paths is not used, beside one that is."""
    write_recipe("good", "encoding=rgb", {"clean": 20.0, "corruption": 30.0}, corruption=OFFICIAL)
    results, not_used = gather(["good", *arguments[:1]], *arguments[1:])
    assert "good" in [str(each.folder) for each in results] or arguments[1:]
    ((folder, told),) = [(str(each.folder), each.reason) for each in not_used if str(each.folder) != "good"]
    assert folder == arguments[0]
    assert "\n" not in told
    return told


# -- trained to its end -----------------------------------------------------------------------------------------------


def test_an_evaluation_of_a_run_that_was_stopped(workdir):
    write_recipe("a", "", None, status="interrupted")
    write_counts("a/evaluations/mine", {"clean": 50.0})
    told = "not finished (its status is 'interrupted'); its last checkpoint is not that of the whole training"
    assert reason("a/evaluations/mine") == told
    write_counts("good/evaluations/mine", {"clean": 50.0})
    results, not_used = gather(["good", "a"], "mine")
    assert [str(each.run.path) for each in results] == ["good"]
    assert [(str(each.folder), each.reason) for each in not_used] == [("a", told)]


def test_the_best_checkpoint_says_itself_that_it_departs(workdir):
    write_recipe("a", "", None, status="interrupted")
    write_counts("a/evaluations/mine", {"clean": 50.0}, checkpoint="best")
    assert len(gather(["a/evaluations/mine"])[0]) == 1


def test_an_evaluation_from_before_a_resume(workdir):
    write_recipe("a", "", {"clean": 20.0}, step=540)
    write_counts("a/evaluations/early", {"clean": 50.0}, step=200)
    write_counts("a/evaluations/late", {"clean": 20.0}, step=540)
    assert reason("a/evaluations/early") == "measured after 200 of 540 steps of training"
    assert len(gather(["a/evaluations/late"])[0]) == 1


@pytest.mark.parametrize(("step", "used"), [(200 * 391, True), (200 * 390, False)])
def test_the_steps_of_a_run_without_results_of_its_own(workdir, step, used):
    """CIFAR-100: 50,000 images in batches of 128 are 391, the last of them smaller."""
    write_recipe("a", "", None, facts={"dataset": {"train": 50_000}})
    write_counts("a/evaluations/mine", {"clean": 20.0}, step=step)
    if used:
        assert len(gather(["a/evaluations/mine"])[0]) == 1
    else:
        assert reason("a/evaluations/mine") == "measured after 78,000 of 78,200 steps of training"


# -- files of another form --------------------------------------------------------------------------------------------


def change(file, path, value):
    content = json.loads(file.read_text())
    *groups, name = path.split(".")
    node = content
    for group in groups:
        node = node.setdefault(group, {})
    node[name] = value
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("results.json", "corruptions", []),
        ("results.json", "corruptions.left_out", 3),
        ("results.json", "settings.dataset", ["cifar100"]),
        ("results.json", "settings.corruption.names", {"fog": 1}),
        ("results.json", "settings.corruption.names", [3]),
        ("results.json", "settings.corruption.names", ["fogg"]),
        ("results.json", "settings.corruption.severities", ["x"]),
        ("results.json", "settings.limit_test", "all"),
        ("results.json", "settings.attack", "lspga"),
        ("results.json", "settings.checkpoint", ["last"]),
        ("results.json", "settings.precision", 32),
        ("results.json", "settings.test_files", 5),
        ("run.json", "sweep", "table2"),
        ("run.json", "versions", []),
        ("run.json", "versions.torch", {}),
        ("run.json", "command", [1, 2]),
        ("run.json", "git_commit", 5),
        ("run.json", "trained_on", "gpu"),
        ("run.json", "trained_on.precision", 16),
        ("status.json", "state", ["finished"]),
    ],
)
def test_json_of_another_form(workdir, file, key, value):
    write_recipe("bad", "", {"clean": 20.0, "corruption": 30.0}, 1, corruption=OFFICIAL)
    change(workdir / "bad" / file, key, value)
    told = reason("bad")
    assert file in told
    assert "damaged" in told or "corruption.names=fogg: must be one of" in told


@pytest.mark.parametrize(("key", "value"), [("versions", {}), ("versions", None), ("sweep", None), ("command", None)])
def test_what_may_be_missing(workdir, key, value):
    write_recipe("a", "", {"clean": 20.0}, 1)
    change(workdir / "a" / "run.json", key, value)
    assert "Table II" in report_text(make_report(["a"]))


def test_a_run_in_a_folder_with_a_comma(workdir):
    write_recipe("sweep/lr=0.1,M=16", "", {"clean": 20.0}, 1)
    assert [str(each.folder) for each in gather(["sweep"])[0]] == ["sweep/lr=0.1,M=16"]
