"""Reading what runs have measured: which folders a user can name, and what is told of those that do not serve."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from measured_runs import config_of, settings_of, write_group, write_results, write_run, wrong_images
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.results import Results, Row
from p2be_exp.report.measured import Counts, find_measured
from p2be_exp.runs.run import Run

CONDITIONS = ("clean", "corruption/fog/3")


def found(*arguments):
    return [str(measured.folder) for measured in find_measured("A", *arguments)]


def read(*arguments):
    for measured in find_measured("A", *arguments):
        measured.images("clean")


def refusal(*arguments):
    with pytest.raises(BadInput) as caught:
        read(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def run(workdir):
    return write_run("run", wrong_images(CONDITIONS), seed=4)


def test_a_run(run):
    (measured,) = find_measured("A", "run")
    wrong = wrong_images(CONDITIONS)
    assert measured.counts == {name: Counts(int(wrong[name].sum()), 200) for name in CONDITIONS}
    assert measured.counts["clean"].error == 100 * wrong["clean"].mean()
    assert (measured.seed, measured.settings) == (4, settings_of(4))
    for name in CONDITIONS:
        images = measured.images(name)
        assert np.array_equal(images.wrong, wrong[name])
        assert np.array_equal(images.index, np.arange(200) * 2)
        assert np.array_equal(images.label, images.index % 10)


def test_what_training_and_evaluation_write_is_read(workdir):
    """The one place where the two sides of the files meet."""
    Run("run").create(config_of(seed=4))
    Run("run").set_status("finished")
    conditions = CLEAN, Condition("corruption", "fog", severity=3)
    results = Results(Path("run"), settings_of())
    for condition, wrong in zip(conditions, wrong_images(CONDITIONS).values(), strict=True):
        images = {"index": np.arange(200), "label": np.zeros(200, dtype=int), "prediction": wrong.astype(int)}
        images |= {"confidence": np.full(200, 0.5), "wrong": wrong}
        results.add(Row.of(condition, 200, int(wrong.sum()), 1.0), images)
    (measured,) = find_measured("A", "run")
    assert (list(measured.counts), measured.seed) == (list(CONDITIONS), 4)
    assert all(measured.images(name).wrong.sum() == measured.counts[name].n_wrong for name in CONDITIONS)


def test_a_folder_of_runs_in_the_order_of_their_numbers(workdir):
    for number in (10, 9, 0, 1):
        write_run(workdir / "sweep" / str(number), wrong_images(CONDITIONS), seed=number)
    (workdir / "sweep" / "notes").mkdir()
    (workdir / "sweep" / "multirun.yaml").write_text("")
    assert found("sweep") == ["sweep/0", "sweep/1", "sweep/9", "sweep/10"]


def test_several_joined_by_commas(workdir, run):
    write_group("sweep", [0.2, 0.3], CONDITIONS)
    assert found("run,sweep") == ["run", "sweep/0", "sweep/1"]


def test_a_folder_with_a_comma_in_its_name(workdir):
    write_group("lr=0.1,M=16", [0.2, 0.3], CONDITIONS)
    write_group("sweep", [0.2, 0.3], CONDITIONS)
    (workdir / "sweep" / "0").rename(workdir / "sweep" / "a,b")
    assert found("lr=0.1,M=16") == ["lr=0.1,M=16/0", "lr=0.1,M=16/1"]
    assert sorted(found("sweep")) == ["sweep/1", "sweep/a,b"]
    assert found("sweep/a,b") == ["sweep/a,b"]


def test_an_evaluation_of_each_run(workdir):
    write_group("sweep", [0.2, 0.3], CONDITIONS)
    for number in "01":
        write_results(f"sweep/{number}/evaluations/mine", wrong_images(["clean"]))
    assert found("sweep", "mine") == ["sweep/0/evaluations/mine", "sweep/1/evaluations/mine"]
    assert [list(measured.counts) for measured in find_measured("A", "sweep", "mine")] == [["clean"]] * 2


def test_an_evaluation_itself(workdir, run, monkeypatch):
    write_results("run/evaluations/mine", wrong_images(["clean"]))
    (measured,) = find_measured("A", "run/evaluations/mine")
    assert (list(measured.counts), measured.seed) == (["clean"], 4)
    monkeypatch.chdir(run / "evaluations")
    assert found("mine") == ["mine"]


def test_an_evaluation_of_an_evaluation(run):
    write_results("run/evaluations/mine", wrong_images(["clean"]))
    message = refusal("run/evaluations/mine", "other")
    assert message == "evaluation=other: is only for run folders; A=run/evaluations/mine is an evaluation"


def test_an_evaluation_that_a_run_lacks(run):
    assert refusal("run", "mine") == "evaluation=mine: not in run; there are: none"
    write_results("run/evaluations/b", wrong_images(["clean"]))
    write_results("run/evaluations/a", wrong_images(["clean"]))
    assert refusal("run", "mine") == "evaluation=mine: not in run; there are: a, b"


@pytest.mark.parametrize("text", ["nowhere", "", "run,", "run,nowhere"])
def test_no_such_folder(run, text):
    assert refusal(text) == f"A={text.rpartition(',')[2]}: no such folder"


def test_a_folder_without_runs(workdir):
    (workdir / "empty" / "0").mkdir(parents=True)
    assert refusal("empty") == "A=empty: neither a run, nor a folder of runs, nor an evaluation of a run"


def test_a_job_that_failed_early_is_not_passed_over(workdir):
    write_group("sweep", [0.2, 0.3], CONDITIONS)
    for name in ("config.yaml", "run.json"):
        (workdir / "sweep" / "1" / name).unlink()
    assert refusal("sweep") == "A=sweep/1: not a run folder (config.yaml and run.json missing)"


@pytest.mark.parametrize("state", ["running", "failed", "interrupted"])
def test_a_run_that_is_not_finished(workdir, state):
    write_run("run", wrong_images(CONDITIONS), status=state)
    assert refusal("run").startswith(f"A=run: not finished (its status is '{state}')")
    write_results("run/evaluations/mine", wrong_images(["clean"]))
    assert found("run", "mine") == ["run/evaluations/mine"]  # which is finished or not by itself


def test_a_status_of_another_form(run):
    (run / "status.json").write_text("[]")
    assert refusal("run") == "A=run: status.json is damaged"


@pytest.mark.parametrize("name", ["results.csv", "results.json"])
def test_a_run_without_results(run, name):
    (run / name).unlink()
    assert refusal("run") == f"A=run: no {name}; nothing was measured there yet"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("results.json", "{"),
        ("results.json", '{"corruptions": {}}'),
        ("results.json", '{"settings": null}'),
        ("results.json", '{"settings": {"dataset": "digits"}}'),
        ("results.csv", "condition,n\nclean,5\n"),
        ("results.csv", "condition,n,n_wrong\nclean,5\n"),
        ("results.csv", "condition,n,n_wrong\nclean,five,1\n"),
        ("results.csv", "condition,n,n_wrong\nclean,5,6\n"),
        ("results.csv", "condition,n,n_wrong\nclean,0,0\n"),
        ("results.csv", ""),
        ("results.csv", "condition,n,n_wrong\n"),
        ("results.csv", "condition,n,n_wrong\nclean,5,1\nclean,5,2\n"),
        ("results.csv", "name,n,n_wrong\nclean,5,1\n"),
        ("results.csv", "\x00\x01\x02\n\x00"),
        ("results.json", '{"settings": {"dataset": ["digits"], "corruption": {"name": "none"}}}'),
        ("results.json", '{"settings": {"dataset": "digits", "corruption": {"name": ["none"]}}}'),
        ("results.json", "[]"),
    ],
)
def test_damaged_results(run, name, text):
    (run / name).write_text(text)
    assert refusal("run") == "A=run: results.csv or results.json is damaged"


def test_images_that_are_missing_or_damaged(run):
    file = run / "per_image" / "clean.npz"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert refusal("run") == "A=run: per_image/clean.npz is damaged"
    file.unlink()
    assert refusal("run") == "A=run: per_image/clean.npz is missing"


def test_images_that_do_not_fit_the_row(run):
    shutil.copy(run / "per_image" / "corruption-fog-3.npz", run / "per_image" / "clean.npz")
    assert refusal("run") == "A=run: per_image/clean.npz does not fit the row of clean in results.csv"
