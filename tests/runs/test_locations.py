"""Where data and runs are: a place is no part of what a run is, and means the same from every folder."""

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commandline import TINY, compare, copy_of, corruptions, evaluate_clean, export, refusal, report, rows_of, train
from p2be_exp import load_run
from p2be_exp.config.schema import DatasetConfig, TrainConfig
from p2be_exp.errors import BadInput
from p2be_exp.runs.locations import locate, locations
from p2be_exp.runs.run import Run
from p2be_exp.system.command_line import typed

PICTURES = (
    "dataset=image_folder",
    "dataset.image_size=32",
    "dataset.resized=32",
    "dataset.workers=0",
    "epochs=1",
    "limit_test=8",
)


@pytest.fixture
def pictures(workdir):
    """A folder of pictures: two classes, as the working directory's ``pictures``."""
    numbers = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("owl", "wren"):
            folder = workdir / "pictures" / split / name
            folder.mkdir(parents=True)
            for place in range(8):
                Image.fromarray(numbers.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{place}.png")
    return workdir / "pictures"


@pytest.fixture
def run(pictures):
    """A run on them, which was given them by a relative path."""
    outcome = train(*TINY, *PICTURES, "dataset.dir=pictures", "hydra.run.dir=run", "limit_train=null")
    assert outcome.code == 0, outcome.err
    return Run(Path("run").absolute())


def test_a_run_finds_its_data_from_any_folder(run, workdir, monkeypatch):
    assert run.config().dataset.dir == "pictures"
    assert run.info()["locations"]["dataset.dir"] == {"given": "pictures", "path": str(workdir / "pictures")}
    (workdir / "elsewhere").mkdir()
    monkeypatch.chdir(workdir / "elsewhere")
    outcome = evaluate_clean(f"run={run.path}")
    assert outcome.code == 0, outcome.err
    assert (run.path / "results.csv").is_file()
    outcome = train(f"resume={run.path}")
    assert outcome.code == 0, outcome.err
    assert list(Path().iterdir()) == []


def test_a_run_whose_data_moved_is_told_where_it_is_now(run, workdir):
    config = run.config_file.read_bytes()
    Path("pictures").rename("moved")
    for told in (refusal(train("resume=run")), refusal(evaluate_clean("run=run"))):
        assert "pictures" in told
    assert train("resume=run", "dataset.dir=moved").code == 0
    for key in ("dataset.dir", "dataset_dir"):
        assert evaluate_clean("run=run", f"{key}=moved").code == 0
    assert run.config_file.read_bytes() == config
    (file := next(Path("moved/train/owl").iterdir())).rename(file.with_name("another.png"))
    assert "pictures are not those that the run was started with" in refusal(train("resume=run", "dataset.dir=moved"))


def test_the_places_that_are_tried(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("P2BE_DATA_DIR", raising=False)
    (tmp_path / "data").mkdir()
    stored = locations(TrainConfig(data_dir="./data", dataset=DatasetConfig()))
    assert stored == {"data_dir": {"given": "./data", "path": str(tmp_path / "data")}}

    def located(given=(), info=None, word="./data"):
        config = TrainConfig(data_dir=word, dataset=DatasetConfig("cifar10"))
        locate(config, {"locations": stored} if info is None else info, given)
        return config.data_dir

    assert located() == "./data"  # the same place in the user's own word
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert located() == str(tmp_path / "data")
    monkeypatch.setenv("P2BE_DATA_DIR", "/of/this/machine")
    assert located() == str(tmp_path / "data")
    (tmp_path / "data").rmdir()
    assert located() == "/of/this/machine"
    assert located(given=["data_dir"]) == "./data"
    for info in ({}, {"locations": 3}, {"locations": {"data_dir": 3}}):
        assert located(info=info) == "/of/this/machine"
    monkeypatch.delenv("P2BE_DATA_DIR")
    assert located() == str(tmp_path / "data")
    assert located(info={}) == "./data"
    assert located(word="edited") == "edited"
    (tmp_path / "elsewhere" / "data").mkdir()
    assert located() == "./data"


def test_a_changed_folder_of_the_job_changes_no_meaning_of_a_path(run, workdir):
    Path("run").rename("first")
    arguments = (*TINY, *PICTURES, "dataset.dir=pictures", "limit_train=null", "hydra.job.chdir=true")
    outcome = train(*arguments, "encoding.table_from=first", "hydra.run.dir=second")
    assert outcome.code == 0, outcome.err
    assert (workdir / "second" / "results.csv").is_file()
    assert Run("second").info()["locations"]["dataset.dir"]["path"] == str(workdir / "pictures")
    outcome = train("-m", *arguments, "seed=0,1", "hydra.sweep.dir=sweep")
    assert outcome.code == 0, outcome.err
    assert Path.cwd() == workdir
    assert [(workdir / "sweep" / name / "results.csv").is_file() for name in "01"] == [True, True]


def test_the_home_folder_is_where_the_shell_has_it(workdir, four_epochs, monkeypatch):
    copy_of(four_epochs, workdir / "r")
    monkeypatch.setenv("HOME", str(workdir))
    monkeypatch.chdir("/")
    assert load_run("~/r").encoding.name == "p2be"
    with pytest.raises(BadInput, match=r"^run=~nobody-here/r: no such home folder$"):
        load_run("~nobody-here/r")


# -- a run that cannot be written -------------------------------------------------------------------------------------


def test_results_go_where_out_says(workdir, four_epochs, rgb_run):
    run = copy_of(four_epochs, workdir / "run")
    before = sorted(run.rglob("*"))
    outcome = evaluate_clean("run=run", "out=mine")
    assert outcome.code == 0, outcome.err
    assert sorted(run.rglob("*")) == before
    assert rows_of(Path("mine/results.csv"))[0]["condition"] == "clean"
    assert outcome.out.endswith("results in mine\n")
    assert evaluate_clean("run=run", "out=mine").code == 0  # goes on
    told = refusal(evaluate_clean("run=run", "out=mine", "limit_test=5"))
    assert told.startswith("out=mine: holds results of other settings (limit_test=")
    # Reports and comparisons know whose they are.
    assert report("mine", "out=report").code == 0
    other = copy_of(rgb_run, workdir / "rgb")
    assert evaluate_clean("run=rgb", "out=theirs").code == 0
    outcome = compare("mine", "theirs")
    assert outcome.code == 0, outcome.err
    assert other.is_dir()


def test_results_whose_run_is_not_here_say_so(workdir):
    Path("mine").mkdir()
    Path("mine/results.json").write_text('{"run": "/nowhere/run", "settings": {}}')
    why = "measured on the run /nowhere/run, which is not there"
    assert refusal(report("mine", "out=out")) == f"RUNS=mine: {why}; no run has results to report"
    assert refusal(compare("mine", "mine")) == f"A=mine: {why}"


@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.sweep.dir", "hydra.job.chdir"])
def test_hydras_keys_are_trainings_alone(workdir, four_epochs, key):
    copy_of(four_epochs, workdir / "run")
    told = refusal(evaluate_clean("run=run", f"{key}=x"))
    where = "evaluate.py has no keys of Hydra's; use out=FOLDER to choose where the results go"
    assert told == f"{key}=x: is for train.py; {where}"
    told = refusal(corruptions("make", "dataset=digits", "out=out", f"{key}=x"))
    assert told == f"{key}=x: is for train.py; python -m p2be_exp.corruptions has no keys of Hydra's"
    assert "is for train.py" in refusal(export("run=run", f"{key}=x"))
    assert sorted(each.name for each in workdir.iterdir()) == ["run"]


def test_what_out_cannot_be(workdir, four_epochs):
    copy_of(four_epochs, workdir / "run")
    Path("file").touch()
    Path("mine").mkdir()
    Path("mine/notes.txt").touch()
    assert refusal(evaluate_clean("run=run", "out=mine")) == (
        "out=mine: holds notes.txt, which no evaluation wrote; choose another folder"
    )
    for content in ('{"a": 1}', "{", "[]", '{"settings": 3}'):  # somebody's, who is not told to remove the folder
        Path("mine/results.json").write_text(content)
        assert refusal(evaluate_clean("run=run", "out=mine")) == (
            "out=mine: holds results.json, which no evaluation wrote; choose another folder"
        )
    assert refusal(evaluate_clean("run=run", "out=run")).startswith("out=run: holds ")
    assert refusal(evaluate_clean("run=run", "out=file")).startswith("out=file: cannot be written")
    assert refusal(evaluate_clean("run=run", "out=new", "name=mine")) == (
        "out=new: replaces name=mine; give only one of them"
    )
    assert not Path("new").exists()


def test_a_run_that_cannot_be_written_says_what_helps(workdir, four_epochs, monkeypatch):
    copy_of(four_epochs, workdir / "run")
    monkeypatch.setattr(os, "access", lambda path, mode: "run" not in Path(path).parts)
    message = "run=run: cannot be written; use out=FOLDER to put the results elsewhere"
    assert refusal(evaluate_clean("run=run")) == message
    outcome = evaluate_clean("run=run", "out=mine")
    assert outcome.code == 0, outcome.err
    assert not Path("run/evaluations").exists()


def test_folders_of_runs_and_sweeps_may_be_in_the_home_folder(workdir, monkeypatch):
    (workdir / "home").mkdir()
    monkeypatch.setenv("HOME", str(workdir / "home"))
    short = (*TINY, "epochs=1", "limit_train=16", "limit_test=8")
    assert train(*short, "hydra.run.dir=~/run").code == 0
    assert train("-m", *short, "seed=0,1", "hydra.sweep.dir=~/sweep").code == 0
    assert sorted(each.name for each in Path("home").iterdir()) == ["run", "sweep"]
    assert [each.name for each in workdir.iterdir()] == ["home"]
    assert refusal(train(*short, "hydra.run.dir=~nobody-here/r")).endswith("no such home folder")
    assert shlex.split(typed(resume=Path("~/r"))) == ['resume="./~/r"']  # a folder that is really called so
