"""Sweeps: a folder and a W&B run a job; a job that fails takes no other down; the exit code tells."""

import itertools
import os
import signal
from pathlib import Path

import pytest

from commandline import QUICKSTART, TINY, at_batch, checkpoint_of, copy_of, refusal, rows_of, train, weights_of
from p2be_exp.runs.run import Run
from p2be_exp.training import job as jobs

pytestmark = pytest.mark.usefixtures("workdir")

SHORT = [*QUICKSTART, "epochs=1", "limit_train=16", "limit_test=10", "hydra.sweep.dir=sweep"]


def states(folder="sweep"):
    return {path.name: Run(path).status()["state"] for path in sorted(Path(folder).iterdir()) if path.is_dir()}


def test_a_job_for_each_point_of_the_grid():
    outcome = train("-m", *SHORT, "encoding.M=16,32", "encoding.lambda_smooth=0,1")
    assert outcome.code == 0, outcome.err
    assert states() == dict.fromkeys("0123", "finished")
    assert any(line.startswith("== 3: ") and line.endswith("lambda_smooth=1") for line in outcome.out.splitlines())
    points = []
    for number in "0123":
        run = Run(Path("sweep") / number)
        encoding = run.config().encoding
        points.append((encoding.M, encoding.lambda_smooth))
        assert weights_of(run.path)["model.encoding.weight"].shape == (256, encoding.M)
        assert len(rows_of(run.path / "results.csv")) == 1
        assert run.info()["parameters"]["table"] == 256 * encoding.M
    assert points == list(itertools.product((16, 32), (0.0, 1.0)))
    assert [path.name for path in Path().iterdir()] == ["sweep"]


def test_a_job_trains_what_the_same_command_trains_alone():
    assert train("-m", *SHORT, "seed=3,4", "encoding.M=8").code == 0
    assert train(*SHORT, "seed=4", "encoding.M=8", "hydra.run.dir=alone").code == 0
    one, other = (weights_of(Path(run)) for run in ("sweep/1", "alone"))
    assert all(one[name].equal(other[name]) for name in one)


def test_a_sweep_has_a_folder_of_its_own_in_the_logs():
    arguments = [argument for argument in SHORT if not argument.startswith("hydra")]
    assert train(*arguments, "encoding.M=8", "seed=0", "-m").code == 0
    (run,) = Path("logs/train/multiruns").glob("*/0")
    assert Run(run).status()["state"] == "finished"


def test_bad_input_in_one_job_leaves_the_others_alone():
    outcome = train("-m", *SHORT, "encoding.M=0,8")
    assert outcome.code == 2
    assert states() == {"0": "failed", "1": "finished"}
    status = Run("sweep/0").status()
    assert (status["exit_code"], status["error"]) == (2, "encoding.M=0: must be between 1 and 1024")
    assert "error: encoding.M=0: must be between 1 and 1024" in outcome.err.splitlines()
    assert "1 of 2 jobs failed:" in outcome.err
    assert "  sweep/0: encoding.M=0: must be between 1 and 1024" in outcome.err.splitlines()


def test_an_unexpected_failure_of_one_job_leaves_the_others_alone(monkeypatch):
    original = jobs.prepare

    def prepare(config, *arguments, **more):
        if config.seed == 1:
            raise RuntimeError("no memory left")
        return original(config, *arguments, **more)

    monkeypatch.setattr(jobs, "prepare", prepare)
    outcome = train("-m", *SHORT, "encoding.M=8", "seed=0,1,2")
    assert outcome.code == 1
    assert states() == {"0": "finished", "1": "failed", "2": "finished"}
    assert Run("sweep/1").status()["error"] == "RuntimeError: no memory left"
    assert "Traceback" in outcome.err
    assert "1 of 3 jobs failed:" in outcome.err


def test_bad_input_and_a_failure_together_are_a_failure(monkeypatch):
    def fail():
        raise RuntimeError("no memory left")

    at_batch(monkeypatch, 0, 0, fail)
    outcome = train("-m", *SHORT, "encoding.M=8,0")
    assert outcome.code == 1
    assert states() == {"0": "failed", "1": "failed"}
    assert "2 of 2 jobs failed:" in outcome.err


def test_bad_input_of_the_sweep_itself_is_one_line():
    outcome = train("-m", *SHORT, "encodng.M=8,16")
    assert outcome.code == 2
    assert "encodng.M" in outcome.err
    outcome = train("-m", *SHORT, "encoding=rbg,p2be")
    assert outcome.code == 2
    assert "no such encoding; available: onehot, p2be, rgb, thermometer" in outcome.err


def test_several_devices_are_refused_in_a_sweep():
    outcome = train("-m", *SHORT, "encoding.M=8", "trainer=ddp", "trainer.accelerator=cpu", "seed=0,1")
    assert outcome.code == 2
    assert states() == {"0": "failed", "1": "failed"}
    assert outcome.err.count("error: trainer.devices=2: a job of a sweep uses one device") == 2


def test_a_sweep_does_not_write_over_runs(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "sweep" / "0")
    before = {file: file.read_bytes() for file in run.rglob("[!.]*") if file.is_file()}
    outcome = train("-m", *SHORT, "encoding.M=8", "seed=0")
    assert outcome.code == 2
    assert "error: hydra.sweep.dir=" in outcome.err
    assert "job 0 there has epochs=4, this one 1" in outcome.err
    assert before == {file: file.read_bytes() for file in run.rglob("[!.]*") if file.is_file()}


def test_a_signal_stops_the_sweep_and_the_job_can_be_gone_on_with(monkeypatch):
    at_batch(monkeypatch, 0, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    outcome = train("-m", *TINY, "hydra.sweep.dir=sweep", "seed=0,1")
    assert outcome.code == 143
    assert states() == {"0": "interrupted"}
    *_, job, sweep = outcome.err.splitlines()
    assert job == "stopped; to continue: python train.py resume=sweep/0"
    assert sweep == f"the sweep: python train.py -m {' '.join(TINY)} seed=0,1 hydra.sweep.dir=sweep"
    assert train("resume=sweep/0").code == 0
    assert checkpoint_of(Path("sweep/0"))["global_step"] == 8


def test_the_same_grid_in_the_same_folder_does_what_is_left(monkeypatch):
    command = ["-m", *SHORT, "encoding.M=8", "seed=0,1"]
    with monkeypatch.context() as patched:
        at_batch(patched, 0, 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(*command).code == 143
    assert states() == {"0": "interrupted"}
    assert train(*command).code == 0
    assert states() == {"0": "finished", "1": "finished"}
    before = written()
    outcome = train(*command, "watch_every=1")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("already finished") == 2
    assert before == written()


def written():
    """When each file of two jobs was written, apart from their locks, which are taken to look at them."""
    files = [file for run in "01" for file in Path("sweep", run).rglob("[!.]*")]
    return {file: file.stat().st_mtime_ns for file in files}


def test_what_is_wrong_with_the_whole_grid_changes_nothing_on_disk(workdir):
    for wrong in (["encodng.M=8,16"], ["encoding=rbg,p2be"], ["seed=0,1", "epochs=many"]):
        assert refusal(train("-m", *TINY, *wrong))
    assert list(Path().iterdir()) == []
