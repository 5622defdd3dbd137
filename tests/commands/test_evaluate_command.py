"""``evaluate.py``: measures a run inside its folder, goes on where it stopped, refuses what does not fit."""

import json
import os
import signal

import numpy as np
import pytest
import torch

from commandline import ROOT, copy_of, evaluate, evaluate_clean, finish, refusal, rows_of, start, train
from p2be_exp.evaluation.module import EvaluationModule


@pytest.fixture
def run(workdir, four_epochs):
    return copy_of(four_epochs, workdir / "run")


def content(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def without_times(file):
    if file.suffix == ".json":
        return {key: value for key, value in json.loads(file.read_text()).items() if key != "written"}
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(file)]


def refused(folder, *arguments):
    before = sorted(folder.rglob("*"))
    message = refusal(evaluate_clean(*arguments))
    assert sorted(folder.rglob("*")) == before
    return message


def test_help():
    outcome = evaluate("--help")
    assert (outcome.code, outcome.err) == (0, "")
    for part in ("run: ???", "checkpoint: last", "trainer     auto cpu ddp gpu", "RUN/evaluations/NAME"):
        assert part in outcome.out


def test_the_clean_row_is_that_of_the_training(workdir, run):
    before = content(run)
    outcome = evaluate_clean("run=run", "limit_test=40")
    assert outcome.code == 0, outcome.err
    folder = run / "evaluations" / "last_clean_random40"
    assert {file.name for file in folder.rglob("*")} == {
        ".lock",
        "results.csv",
        "results.json",
        "per_image",
        "clean.npz",
    }
    assert without_times(folder / "results.csv") == without_times(run / "results.csv")
    one, other = np.load(folder / "per_image" / "clean.npz"), np.load(run / "per_image" / "clean.npz")
    assert all(np.array_equal(one[key], other[key]) for key in ("index", "label", "prediction", "wrong"))
    after = content(run)
    assert {file: after[file] for file in before} == before
    assert [path.name for path in workdir.iterdir()] == ["run"]
    assert "clean                                 40" in outcome.out


def test_the_second_call_adds_nothing(run):
    assert evaluate_clean("run=run", "limit_test=30", "name=mine").code == 0
    folder = run / "evaluations" / "mine"
    first, summary = content(folder), without_times(folder / "results.json")
    outcome = evaluate_clean("run=run", "limit_test=30", "name=mine")
    assert outcome.code == 0
    assert "clean                                 30" in outcome.out
    second = content(folder)
    assert without_times(folder / "results.json") == summary
    changed = {str(file) for file in first if first[file] != second[file]}
    assert first.keys() == second.keys()
    assert changed <= {"results.json"}
    assert [path.name for path in (run / "evaluations").iterdir()] == ["mine"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_evaluation_goes_on(run, monkeypatch, number):
    original = EvaluationModule.test_step
    steps = []

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        steps.append(batch_idx)
        if len(steps) == 2:
            os.kill(os.getpid(), number)
        original(self, batch, batch_idx, dataloader_idx)

    monkeypatch.setattr(EvaluationModule, "test_step", test_step)
    assert evaluate_clean("run=run", "limit_test=40", "eval_batch_size=10").code == 128 + number
    folder = run / "evaluations" / "last_clean_random40"
    assert not (folder / "results.csv").exists()
    assert evaluate_clean("run=run", "limit_test=40", "eval_batch_size=10").code == 0
    assert without_times(folder / "results.csv") == without_times(run / "results.csv")


def test_a_missing_row_alone_is_measured_again(run):
    assert evaluate_clean("run=run", "limit_test=30").code == 0
    (row_file,) = (run / "evaluations").glob("*/results.csv")
    measured = without_times(row_file)
    row_file.unlink()
    assert evaluate_clean("run=run", "limit_test=30").code == 0
    assert without_times(row_file) == measured


def test_settings_are_in_the_default_name_and_in_the_results(run):
    assert evaluate_clean("run=run", "limit_test=20", "seed=3").code == 0
    summary = json.loads((run / "evaluations" / "last_clean_random20_seed3" / "results.json").read_text())
    wanted = {"checkpoint": "last", "limit_test": 20, "seed": 3, "dataset": "digits", "step": 16, "precision": "32"}
    assert {key: summary["settings"][key] for key in wanted} == wanted


def test_a_name_with_other_settings_is_refused(run):
    assert evaluate_clean("run=run", "limit_test=20", "name=mine").code == 0
    message = refused(run, "run=run", "limit_test=21", "name=mine")
    assert message == "name=mine: holds results of other settings (limit_test=20); choose another name"
    assert "seed=0" in refused(run, "run=run", "limit_test=20", "seed=1", "name=mine")


def test_other_weights_under_the_same_name_are_refused(run):
    assert evaluate_clean("run=run", "limit_test=20").code == 0
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save({**checkpoint, "global_step": 20}, run / "checkpoints" / "last.ckpt")
    message = refused(run, "run=run", "limit_test=20")
    assert message == "name=last_clean_random20: holds results of other settings (step=16); choose another name"


def test_the_best_checkpoint(workdir, with_validation):
    run = copy_of(with_validation, workdir / "run")
    assert evaluate_clean("run=run", "checkpoint=best", "limit_test=20").code == 0
    summary = json.loads((run / "evaluations" / "best_clean_random20" / "results.json").read_text())
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert summary["settings"]["step"] == best["global_step"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run: required; the run to evaluate, run=FOLDER"),
        (["resume=run"], "run: required; the run to evaluate, run=FOLDER"),
        (["run=nowhere"], "run=nowhere: no such folder"),
        (["run=."], "run=.: not a run folder (config.yaml and run.json missing)"),
        (["run=null"], "run=null: a value is required"),
        (["run=run", "checkpoint=best"], "run=run: no checkpoints/best.ckpt (it has no validation split)"),
        (["run=run", "checkpoint=first"], "checkpoint=first: must be one of last, best, ema, epoch_NNN"),
        (["run=run", "foo=1"], "foo=1: unknown key; see --help for the available keys"),
        (["run=run", "epochs=3"], "epochs=3: unknown key; it belongs to train.py"),
        (["run=run", "eval_batch_size=0"], "eval_batch_size=0: must be 1 or more"),
        (["run=run", "limit_test=501"], "limit_test=501: must be between 1 and 500 (there are 500 test images)"),
        (["run=run", "limit_test=few"], "limit_test=few: must be a whole number"),
        (["run=run", "trainer.devices=2"], "trainer.devices=2: several devices require trainer=ddp"),
        (["run=run", "-m"], "-m: not a flag of evaluate.py, which takes KEY=VALUE (see --help)"),
        *(
            (
                ["run=run", f"name={name}"],
                f"name={name}: must be the name of a folder, which will be in RUN/evaluations/",
            )
            for name in ("..", "../mine", "/tmp/mine")
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(workdir, run, arguments, message):
    assert refused(workdir, *arguments) == message


def test_no_gpu(workdir, run, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = refused(workdir, "run=run", "trainer=gpu")
    assert message == "trainer=gpu: no GPU was found; use trainer=cpu or trainer=auto"


def test_a_damaged_checkpoint_is_named(workdir, run):
    (run / "checkpoints" / "last.ckpt").write_bytes(b"garbage")
    assert refused(workdir, "run=run") == "run=run: checkpoints/last.ckpt is damaged"
    (run / "checkpoints" / "last.ckpt").unlink()
    assert refused(workdir, "run=run") == "run=run: no checkpoints/last.ckpt (no epoch was finished)"


def test_a_checkpoint_that_does_not_fit_is_named(workdir, run):
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("M: 8", "M: 9"))
    assert refused(workdir, "run=run") == "run=run: checkpoints/last.ckpt does not match config.yaml"


def test_a_folder_that_cannot_be_written(workdir, run):
    (run / "evaluations").write_text("")
    message = refused(workdir, "run=run", "limit_test=20")
    assert "run/evaluations/last_clean_random20: cannot be written" in message


def test_hydra_full_error_shows_the_traceback(run, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    outcome = evaluate_clean("run=nowhere")
    assert outcome.code == 2
    assert "Traceback" in outcome.err


def test_data_that_is_gone_can_be_elsewhere(workdir, run, monkeypatch):
    config = run / "config.yaml"
    text = config.read_text().replace("name: digits", "name: cifar10\n  download: false")
    config.write_text(text.replace("data_dir: ./data", "data_dir: gone"))
    assert "not found in gone/cifar-10-batches-py" in refused(workdir, "run=run")
    assert "not found in found/cifar-10-batches-py" in refused(workdir, "run=run", "data_dir=found")


@pytest.mark.slow
def test_the_process_itself_ends_with_the_code(workdir, run):
    outcome = finish(
        start(ROOT / "evaluate.py", "run=run", "limit_test=20", "corruption=none", "attack=none", cwd=workdir)
    )
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert rows_of(run / "evaluations" / "last_clean_random20" / "results.csv")[0]["n"] == "20"


def test_training_is_resumed_with_the_other_command(run):
    assert refusal(train("run=run")) == "run=run: unknown key; it belongs to evaluate.py or python -m p2be_exp.export"


def test_figures_of_other_kinds(run):
    arguments = ("run=run", "limit_test=40", "corruption=none", "attack=random_in_ball", "name=a")
    assert evaluate(*arguments, "figures=[]").code == 0
    folder = run / "evaluations" / "a"
    assert not list(folder.glob("figures/*"))
    settings = json.loads((folder / "results.json").read_text())["settings"]
    assert "figures" not in settings
    assert evaluate(*arguments, "figures=[pdf]").code == 0  # the same evaluation, drawn again
    assert sorted(file.name for file in folder.glob("figures/*")) == ["adversarial_images.pdf", "error_over_radius.pdf"]
    message = refused(run, "run=run", "figures=[png,jpg]")
    assert message == "figures=['png', 'jpg']: must be one of png, pdf, svg"
