"""``train.py sweeps=NAME``: listed, run, stopped anywhere and gone on with."""

import os
import shlex
import signal
from pathlib import Path

import pytest

from commandline import copy_of, refusal, rows_of, train, untimed, weights_of
from p2be_exp.commands import sweep
from p2be_exp.runs.run import Run
from p2be_exp.sweeps import sweep_file
from p2be_exp.sweeps.estimate import Seconds
from p2be_exp.training.module import TrainingModule

pytestmark = [pytest.mark.usefixtures("workdir"), pytest.mark.slow]

TINY = (
    "scale=small",
    "limit_train=32",
    "limit_test=20",
    "batch_size=8",
    "epochs=1",
    "trainer.progress=false",
    "hydra.sweep.dir=sweep",
)
"""Two batches a job."""
ORDERED = ("sweeps=table2", *TINY[:-1], "encoding=rgb,thermometer", "seed=0", "corruption.severities=[3]")
TABLE2 = (*ORDERED, TINY[-1])


def states(folder="sweep"):
    return {path.parent.name: Run(path.parent).status()["state"] for path in sorted(Path(folder).glob("*/status.json"))}


def untouched(folder):
    return {file: file.stat().st_mtime_ns for file in Path(folder).rglob("[!.]*") if file.is_file()}


def test_a_list_of_jobs_trains_nothing(workdir):
    outcome = train(*TABLE2, "dry_run=true")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("Table II")
    assert lines[1].startswith("scale=small: digits and a small network")
    assert [line.split()[:2] for line in lines[3:5]] == [["0", "encoding=rgb"], ["1", "encoding=thermometer"]]
    assert "2 jobs, one after another: about" in outcome.out
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize("yes", ["1", "On"])
def test_every_yes_lists(workdir, yes):
    outcome = train("sweeps=fig2", "scale=small", "trainer=cpu", f"dry_run={yes}")
    assert outcome.code == 0, outcome.err
    assert "1 job: about" in outcome.out
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize("more", [["dry_run=true"], []], ids=["listed", "run"])
def test_what_keeps_it_from_being_compared_is_said_first(workdir, monkeypatch, more):
    monkeypatch.setattr("p2be_exp.sweeps.estimate.measure", lambda config, size: Seconds(1, 10, 1000))
    monkeypatch.setattr(sweep, "_run_stages", lambda *given: 0)
    outcome = train("sweeps=table2", "trainer=cpu", "data_dir=nowhere", "seed=0", "hydra.sweep.dir=sweep", *more)
    assert outcome.code == 0, outcome.err
    said = outcome.out.splitlines()[2]
    assert said.startswith(
        "not comparable with the paper: the corrupted images are made here, since there is no nowhere/"
    )
    assert said.endswith(" fetch cifar100 data_dir=nowhere")


def test_a_grid_can_be_listed_too(workdir):
    outcome = train("-m", "dataset=digits", "backbone=wrn16_1", "trainer=cpu", "seed=0,1", "dry_run=true")
    assert outcome.code == 0, outcome.err
    assert "2 jobs, one after another: about" in outcome.out
    assert list(workdir.iterdir()) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sweep in one go: its folder, and what the command printed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        outcome = train(*TABLE2)
    assert outcome.code == 0, outcome.err
    return folder / "sweep", outcome.out


@pytest.fixture
def no_report(monkeypatch):
    """Leaves out the report at the end, which has a test of its own."""
    monkeypatch.setattr(sweep, "_report", lambda folder: None)


def in_job(monkeypatch, name, action):
    """Call ``action`` in the first step of a job that is trained for the first time."""
    original = TrainingModule.training_step

    def training_step(self, batch, batch_idx):
        if Path("sweep", name, "run.json").exists() and batch_idx == 1:
            action()
        return original(self, batch, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", training_step)


def assert_same_results(one, other):
    for job in "01":
        mine, theirs = weights_of(one / job), weights_of(other / job)
        assert all(mine[name].equal(theirs[name]) for name in mine)
        assert untimed(one / job / "metrics.csv") == untimed(other / job / "metrics.csv")
        assert [row["n_wrong"] for row in rows_of(one / job / "results.csv")] == [
            row["n_wrong"] for row in rows_of(other / job / "results.csv")
        ]


def test_a_job_says_which_it_is_and_the_run_which_sweep_it_is_of(whole):
    folder, out = whole
    assert "== 1: encoding=thermometer" in out
    run = Run(folder / "1")
    assert run.info()["command"] == ["train.py", *TABLE2]
    assert (run.config().sweeps, run.config().scale) == ("table2", "small")
    assert run.info()["sweep"] == {"name": "table2", "scale": "small"}
    assert len(rows_of(folder / "1" / "results.csv")) == 1 + 3


def test_it_ends_with_its_report(whole):
    folder, out = whole
    assert "Not comparable with the paper" in out
    assert out.splitlines()[-1] == "report in sweep/report: index.html, report.md, tables/, figures/"
    page = (folder / "report" / "index.html").read_text()
    assert "scale=small of sweeps=table2" in page
    (table,) = (folder / "report" / "tables").glob("*.csv")
    errors = {row["row"]: row for row in rows_of(table) if row["measure"] == "clean"}
    for job, name in (("0", "rgb"), ("1", "thermometer")):
        clean = rows_of(folder / job / "results.csv")[0]
        assert float(errors[name]["mean"]) == pytest.approx(100 * int(clean["n_wrong"]) / int(clean["n"]))


@pytest.mark.usefixtures("no_report")
def test_stopped_in_a_job_and_gone_on_with_it_ends_as_in_one_go(monkeypatch, whole):
    with monkeypatch.context() as patched:
        in_job(patched, "1", lambda: os.kill(os.getpid(), signal.SIGINT))
        outcome = train(*TABLE2)
    assert outcome.code == 130
    assert states() == {"0": "finished", "1": "interrupted"}
    *_, job, whole_sweep = outcome.err.splitlines()
    assert job == "stopped; to continue: python train.py resume=sweep/1"
    assert whole_sweep == f"the sweep: {shlex.join(['python', 'train.py', *ORDERED, 'hydra.sweep.dir=sweep'])}"

    finished = untouched("sweep/0")
    outcome = train(*TABLE2)
    assert outcome.code == 0, outcome.err
    assert "sweep/0: already finished" in outcome.out
    assert untouched("sweep/0") == finished
    assert_same_results(whole[0], Path("sweep"))


@pytest.mark.usefixtures("no_report")
def test_a_failed_job_is_tried_again_and_the_others_are_not(monkeypatch, whole):
    def fail():
        raise RuntimeError("no memory left")

    with monkeypatch.context() as patched:
        in_job(patched, "1", fail)
        outcome = train(*TABLE2)
    assert outcome.code == 1
    assert "1 of 2 jobs failed:" in outcome.err
    assert "Error executing job" not in outcome.err  # Hydra's own line of a thousand characters
    assert states() == {"0": "finished", "1": "failed"}
    finished = untouched("sweep/0")
    assert train(*TABLE2).code == 0
    assert states() == {"0": "finished", "1": "finished"}
    assert untouched("sweep/0") == finished
    assert_same_results(whole[0], Path("sweep"))


def test_what_is_finished_is_reported_where_a_job_fails():
    outcome = train("sweeps=table2", *TINY, "encoding=rgb", "seed=0", "corruption=none", "limit_train=32,5000")
    assert outcome.code == 2
    assert "report in sweep/report" in outcome.out
    assert states() == {"0": "finished", "1": "failed"}
    assert "sweep/1" in Path("sweep/report/report.md").read_text()


@pytest.mark.usefixtures("no_report")
def test_in_other_processes_nothing_is_lost():
    joblib = (*TABLE2, "corruption=none", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "trainer.accelerator=cpu")
    joblib = tuple(each for each in joblib if not each.startswith("corruption.sev"))
    outcome = train(*joblib, "limit_train=5000")
    assert outcome.code == 2
    assert states() == {"0": "failed", "1": "failed"}
    assert "2 of 2 jobs failed:" in outcome.err
    assert train(*joblib).code == 0
    assert states() == {"0": "finished", "1": "finished"}
    outcome = train(*joblib, "epochs=2")  # what is refused leaves the status of the run that is there
    assert outcome.code == 2
    assert "there has epochs=1, this one 2" in outcome.err
    assert states() == {"0": "finished", "1": "finished"}


@pytest.mark.usefixtures("no_report")
def test_a_table_comes_from_the_run_that_is_trained_first():
    arguments = ("sweeps=table7", *TINY, "seed=0", "encoding.M=8", "corruption=none")
    outcome = train(*arguments)
    assert outcome.code == 0, outcome.err
    assert states() == dict.fromkeys(("0", "1", "first"), "finished")
    first, own, fixed = (weights_of(Path("sweep") / each)["model.encoding.weight"] for each in ("first", "0", "1"))
    assert fixed.equal(first)
    assert not own.equal(first)
    assert train(*arguments).out.count("already finished") == 3


BLOCKS = """\
title: T
full: {backbone: wrn16_1, dataset: digits, encoding: rgb, corruption: none, attack: none, seed: 0}
small: {note: few}
blocks:
  plain:
    full: {regime: standard, seed: [0, 1]}
  adversarial:
    full: {regime: [contrain, advtrain], attack@regime.attack: pgd_fixed, regime.attack.steps: 1}
"""
"""The second has keys of an option with several values."""


@pytest.mark.usefixtures("no_report")
def test_blocks_run_one_after_another_behind_a_failed_job_too(monkeypatch, workdir):
    (workdir / "files").mkdir()
    (workdir / "files" / "mine.yaml").write_text(BLOCKS)
    monkeypatch.setattr(sweep_file, "SWEEPS_DIR", workdir / "files")

    failed = []

    def fail_once():
        if not failed:
            failed.append(True)
            raise RuntimeError("no memory left")

    with monkeypatch.context() as patched:
        in_job(patched, "plain-1", fail_once)
        outcome = train("sweeps=mine", *TINY)
    assert outcome.code == 1
    assert "1 of 2 jobs failed:" in outcome.err
    assert "== plain-0: seed=0 regime=standard" in outcome.out
    others = dict.fromkeys(("plain-0", "adversarial-0", "adversarial-1"), "finished")
    assert states() == {**others, "plain-1": "failed"}
    outcome = train("sweeps=mine", *TINY)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("already finished") == 3
    assert states() == {**others, "plain-1": "finished"}
    (first, second) = (Run(Path("sweep") / f"adversarial-{number}").config().regime for number in (0, 1))
    assert (first.name, second.name) == ("contrain", "advtrain")
    assert {regime.attack.start for regime in (first, second)} == {"near"}


NEEDY = """\
title: T
first:
  one: {full: {dataset: digits}}
  two: {full: {dataset: digits}}
full: {dataset: digits, encoding: p2be}
small: {}
blocks:
  of_one: {full: {encoding.table_from: [null, "{one}"]}}
  of_two: {full: {encoding.table_from: "{two}"}}
  of_both: {full: {encoding.table_from: "{one}", task_name: "{two}"}}
  of_none: {full: {}}
"""


@pytest.mark.parametrize(
    ("failing", "left_out"),
    [((), ()), (("one",), ("of_one", "of_both")), (("one", "two"), ("of_one", "of_two", "of_both"))],
)
def test_jobs_whose_first_runs_failed_do_not_start(monkeypatch, capsys, workdir, failing, left_out):
    (workdir / "mine.yaml").write_text(NEEDY)
    monkeypatch.setattr(sweep_file, "SWEEPS_DIR", workdir)
    started = {}

    def multirun(arguments, folder, labels):
        started[",".join(labels)] = arguments
        return int(next(iter(labels)) in failing)

    monkeypatch.setattr(sweep, "multirun", multirun)
    with pytest.raises(SystemExit) as end:
        sweep.named_sweep(["sweeps=mine"], {"sweeps": "mine", "hydra.sweep.dir": "sweep"})
    blocks = {"of_one": "of_one-0,of_one-1", "of_two": "of_two-0", "of_both": "of_both-0", "of_none": "of_none-0"}
    assert list(started) == ["one", "two", *(jobs for block, jobs in blocks.items() if block not in left_out)]
    assert end.value.code == int(bool(failing))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == len(left_out)
    if failing == ("one",):
        assert told == ["2 jobs not started, for want of one", "1 job not started, for want of one"]
    if not failing:
        folders = {f"encoding.table_from={Path('sweep/one')}", f"task_name={Path('sweep/two')}"}
        assert folders <= set(started["of_both-0"])


def test_another_configuration_in_the_folder_is_refused(four_epochs, workdir):
    copy_of(four_epochs, workdir / "sweep" / "0")
    before = untouched("sweep")
    outcome = train(*TABLE2, "encoding=rgb")
    assert outcome.code == 2
    assert "error: hydra.sweep.dir=sweep: job 0 there has encoding" in outcome.err
    assert {file: time for file, time in untouched("sweep").items() if file in before} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["sweeps=table9"],
            "sweeps=table9: no such sweep; available: cpu_study, fig2, fig3, fpd, m_lambda, mixing, other_methods",
        ),
        (["sweeps=table2", "scale=tiny"], "scale=tiny: must be one of full, small"),
        (["sweeps=table2", "encoding=rgb,cmyk"], "encoding=cmyk: no such encoding"),
        (["sweeps=table2", "scale=small", "epochs=0"], "epochs=0: must be 1 or more"),
        (["sweeps=table2", "dry_run=maybe"], "dry_run=maybe: must be true or false"),
        (["sweeps=table2", "hydra.run.dir=here"], "hydra.run.dir=here: cannot be combined with sweeps="),
        (["sweeps=table2", "hydra.sweep.dir=${now:%Y}"], "must be a plain folder with sweeps="),
        (["sweeps=table2", f"hydra.sweep.dir={__file__}/a"], f"hydra.sweep.dir={__file__}/a: cannot be written"),
        (["-m", f"hydra.sweep.dir={__file__}/a", "seed=0,1"], f"hydra.sweep.dir={__file__}/a: cannot be written"),
        (["sweeps=table2", "encoding=glob(*)"], "encoding=glob(*): the values must be listed"),
        (["scale=small"], "scale=small: requires sweeps=NAME"),
        (["sweeps=table2", "scal=small"], "scal=small: unknown key; did you mean scale?"),
    ],
)
def test_bad_input_is_refused_before_the_first_job(workdir, arguments, message):
    assert message in refusal(train(*arguments))
    assert list(workdir.iterdir()) == []
