"""Stopping and going on: by signals, by SIGKILL, within an epoch and between two, to the same bits as in one go."""

import errno
import json
import os
import shlex
import signal
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from commandline import (
    ROOT,
    TINY,
    assert_equal,
    at_batch,
    checkpoint_of,
    copy_of,
    finish,
    refusal,
    rows_of,
    start_warm,
    train,
    trained,
    untimed,
    wait_until,
)
from p2be_exp.evaluation.module import EvaluationModule
from p2be_exp.runs.run import Run
from p2be_exp.training.callbacks import EpochRows, heartbeat

pytestmark = pytest.mark.usefixtures("workdir")


def assert_same_run(one: Path, other: Path):
    """Weights, both optimizers, schedules, loops, rows, results and the images behind them are equal to the bit."""
    left, right = checkpoint_of(one), checkpoint_of(other)
    for part in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "train_meter"):
        assert_equal(left[part], right[part], part)
    assert list(left["optimizer_states"][0]["members"]) == ["backbone", "encoding"]
    assert untimed(one / "metrics.csv") == untimed(other / "metrics.csv")
    assert untimed(one / "results.csv") == untimed(other / "results.csv")
    images = [np.load(run / "per_image" / "clean.npz") for run in (one, other)]
    assert all(np.array_equal(images[0][key], images[1][key]) for key in ("index", "label", "prediction", "wrong"))


def stop(number):
    return lambda: os.kill(os.getpid(), number)


def resume_arguments(outcome) -> list[str]:
    """What the last line says to type."""
    line = outcome.err.splitlines()[-1]
    assert line.startswith("stopped; to continue: python train.py ")
    return shlex.split(line)[5:]


# -- signals ----------------------------------------------------------------------------------------------------------

# By place: epoch, batch (of four, counted from 0), signal, steps in the checkpoint that is left.
STOPS = {
    "first step": (0, 0, signal.SIGINT, 1),
    "middle of an epoch": (1, 1, signal.SIGTERM, 6),
    "last but one step of an epoch": (1, 2, signal.SIGINT, 7),
    "last step of an epoch": (1, 3, signal.SIGINT, 8),
    "a lost terminal": (2, 1, signal.SIGHUP, 10),
    "first step of the last epoch": (3, 0, signal.SIGTERM, 13),
    "very last step": (3, 3, signal.SIGTERM, 16),
}


def test_stopped_by_signals_and_gone_on_with_is_as_in_one_go(monkeypatch, four_epochs):
    """Again and again, within one epoch as well."""
    run, arguments, configs = Path("run"), [*TINY, "epochs=4", "hydra.run.dir=run"], []
    told: list[str] = []
    for where, (epoch, batch, number, steps) in STOPS.items():
        at_batch(monkeypatch, epoch, batch, stop(number))
        outcome = train(*arguments)
        assert outcome.code == 128 + number, where
        status = Run(run).status()
        assert (status["state"], status["signal"], status["exit_code"]) == ("interrupted", number, 128 + number), where
        assert checkpoint_of(run)["global_step"] == steps, where
        assert not (run / "results.csv").exists()
        assert [line for line in outcome.out.splitlines() if line.startswith("resumed")] == told, where
        epoch_done, batch_done = divmod(steps, 4)
        at = (
            f"in epoch {epoch_done + 1}/4, at batch {batch_done + 1}/4"
            if batch_done
            else f"at epoch {epoch_done + 1}/4"
        )
        told = [f"resumed {at}"] if steps < 16 else []
        configs.append((run / "config.yaml").read_bytes())
        arguments = resume_arguments(outcome)
        assert arguments == ["resume=run"]

    resumed = train(*arguments)
    assert resumed.code == 0, resumed.err
    assert_same_run(run, four_epochs)
    assert Run(run).status()["state"] == "finished"
    log = (run / "console.log").read_text()
    assert log.count("== ") == log.count("train.py") - len(STOPS) == 1 + len(STOPS)  # each stop names the command, too
    assert log.count("resumed ") == len(STOPS) - 1  # behind the last step there is nothing to train
    assert "results in run\n" in log
    assert {*configs, (run / "config.yaml").read_bytes()} == {configs[0]}
    assert [path.name for path in Path().iterdir()] == ["run"]


def test_a_second_signal_stops_at_once(monkeypatch, four_epochs, capfd):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    at_batch(monkeypatch, 2, 2, twice)
    outcome = train(*TINY, "epochs=4", "hydra.run.dir=run")
    assert outcome.code == 130
    assert "once more: stop at once" in capfd.readouterr().out
    assert checkpoint_of(Path("run"))["global_step"] == 8  # the last whole epoch
    assert Run("run").status()["state"] == "interrupted"
    assert train("resume=run").code == 0
    assert_same_run(Path("run"), four_epochs)


def test_a_row_of_a_resumed_epoch_has_sensible_timings(monkeypatch):
    at_batch(monkeypatch, 0, 2, stop(signal.SIGINT))
    assert train(*TINY, "hydra.run.dir=run").code == 130
    begin = time.perf_counter()
    assert train("resume=run").code == 0
    took = time.perf_counter() - begin
    first, second = rows_of(Path("run/metrics.csv"))
    assert 0 < float(first["seconds"]) < took
    for row, images in ((first, 8), (second, 32)):
        assert float(row["images_per_second"]) == pytest.approx(images / float(row["seconds"]), rel=0.1)


@pytest.mark.parametrize("batch", [0, 3])
def test_with_accumulated_gradients(monkeypatch, tmp_path, batch):
    # Four batches an epoch and a step every three: after the third and after the last.
    arguments = ["optim.accumulate=3", "optim.clip_norm=1.0", "epochs=2"]
    whole = trained(tmp_path / "whole", *arguments)
    at_batch(monkeypatch, 1, batch, stop(signal.SIGINT))
    assert train(*TINY, *arguments, "hydra.run.dir=run").code == 130
    assert checkpoint_of(Path("run"))["global_step"] == (3 if batch < 3 else 4)
    assert train("resume=run").code == 0
    assert_same_run(Path("run"), whole)
    assert rows_of(whole / "metrics.csv")[-1]["step"] == "4"


def test_with_augmix_and_a_validation_split(monkeypatch, tmp_path):
    arguments = ["regime=augmix", "dataset.val_size=20", "epochs=3", "limit_train=40"]
    whole = trained(tmp_path / "whole", *arguments)
    at_batch(monkeypatch, 1, 1, stop(signal.SIGTERM))
    assert train(*TINY, *arguments, "hydra.run.dir=run").code == 143
    assert train("resume=run").code == 0
    run = Path("run")
    assert_same_run(run, whole)
    assert_equal(checkpoint_of(run, "best")["state_dict"], checkpoint_of(whole, "best")["state_dict"])
    assert rows_of(run / "metrics.csv")[1]["val/error"]


def test_results_of_other_settings_are_told_before_the_training(workdir, four_epochs):
    """The precision goes with resume=; the run stays what it was, finished."""
    run = copy_of(four_epochs, workdir / "run")
    before = Run(run).status()
    message = refusal(train("resume=run", "trainer.precision=bf16"))
    assert message == "resume=run: holds results of other settings (precision=32); use the same settings"
    assert Run(run).status() == before
    assert train("resume=run", "trainer.precision=auto").code == 0


def test_an_interrupted_evaluation_goes_on(monkeypatch, four_epochs):
    original = EvaluationModule.test_step
    done = []

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        if not done:
            done.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, batch, batch_idx, dataloader_idx)

    monkeypatch.setattr(EvaluationModule, "test_step", test_step)
    outcome = train(*TINY, "epochs=4", "hydra.run.dir=run")
    assert outcome.code == 143
    assert Run("run").status()["state"] == "interrupted"
    assert not Path("run/results.csv").exists()
    assert train(*resume_arguments(outcome)).code == 0
    assert_same_run(Path("run"), four_epochs)


def test_signals_are_the_processs_own_again_afterwards(monkeypatch):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    at_batch(monkeypatch, 0, 1, stop(signal.SIGINT))
    assert train(*TINY, "hydra.run.dir=run").code == 130
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_folder_with_a_space_in_its_name(monkeypatch):
    at_batch(monkeypatch, 0, 1, stop(signal.SIGINT))
    outcome = train(*TINY, "hydra.run.dir='my run'")
    assert outcome.code == 130
    assert resume_arguments(outcome) == ["resume=my run"]


# -- processes of their own -------------------------------------------------------------------------------------------

DRIVER = """
import os, signal, sys, time
from p2be_exp.commands.train import main
from p2be_exp.training.module import TrainingModule

original = TrainingModule.training_step
def training_step(self, batch, batch_idx):
    if (self.current_epoch, batch_idx) == {where}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, batch, batch_idx)

if __name__ == "__main__":
    TrainingModule.training_step = training_step
    raise SystemExit(main())
"""


def killed_at(epoch, batch, *arguments):
    """A training in a process of its own that SIGKILL ends in a batch of an epoch, both counted from 0."""
    script = Path("driver.py")
    script.write_text(DRIVER.format(where=(epoch, batch)))
    outcome = finish(start_warm(script.absolute(), *arguments, cwd=Path()))
    assert outcome.code == -signal.SIGKILL, outcome.err


@pytest.mark.slow
def test_killed_in_the_middle_of_an_epoch_goes_on_after_the_last_whole_one(four_epochs):
    killed_at(2, 1, *TINY, "epochs=4", "hydra.run.dir=run")
    run = Path("run")
    assert Run(run).status()["state"] == "running"
    assert checkpoint_of(run)["global_step"] == 8
    assert [row["epoch"] for row in rows_of(run / "metrics.csv")] == ["1", "2"]
    outcome = train("resume=run")
    assert outcome.code == 0, outcome.err
    assert_same_run(run, four_epochs)


@pytest.mark.slow
def test_killed_before_the_first_epoch_ended_starts_over_in_the_same_folder(four_epochs):
    killed_at(0, 2, *TINY, "epochs=4", "hydra.run.dir=run")
    run = Path("run")
    assert not (run / "checkpoints").exists()
    assert Run(run).status()["state"] == "running"
    outcome = train("resume=run")
    assert outcome.code == 0, outcome.err
    assert_same_run(run, four_epochs)
    assert not Path("logs").exists()


@pytest.mark.slow
def test_sigterm_from_outside_and_the_very_command_that_is_printed(workdir, monkeypatch):
    arguments = [*TINY, "epochs=4000", "limit_train=80", "hydra.run.dir=run"]  # which would take an hour
    process = start_warm(ROOT / "train.py", *arguments, cwd=workdir)
    run = workdir / "run"
    wait_until((run / "metrics.csv").exists, process)
    process.send_signal(signal.SIGTERM)
    outcome = finish(process)
    assert outcome.code == 143, outcome.err
    assert Run(run).status()["state"] == "interrupted"
    steps = checkpoint_of(run)["global_step"]
    assert 10 <= steps < 40_000
    said = outcome.err.splitlines()[-1]
    assert said == "stopped; to continue: python train.py resume=run"

    epoch = steps // 10 + 1
    at_batch(monkeypatch, epoch, 4, stop(signal.SIGINT))
    outcome = train(*shlex.split(said.partition(": ")[2])[2:])
    assert outcome.code == 130, outcome.err
    assert checkpoint_of(run)["global_step"] == 10 * epoch + 5
    assert [int(row["epoch"]) for row in rows_of(run / "metrics.csv")] == list(range(1, epoch + 1))


# -- what resume does besides -----------------------------------------------------------------------------------------


def test_a_finished_run_only_prints_its_table_again(workdir, four_epochs, monkeypatch):
    run = copy_of(four_epochs, workdir / "run")
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    at_batch(monkeypatch, 0, 0, lambda: pytest.fail("trained again"))
    outcome = train("resume=run")
    assert outcome.code == 0, outcome.err
    assert "clean                                 40" in outcome.out
    after = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    changed = {file.name for file in after if after[file] != before.get(file)}
    assert changed <= {".lock", "console.log", "status.json", "results.json", "table_similarity.png", "run.json"}
    assert after.keys() == before.keys()
    assert Run(run).status()["state"] == "finished"


def test_what_does_not_change_the_training_may_be_another(monkeypatch, four_epochs):
    at_batch(monkeypatch, 1, 1, stop(signal.SIGINT))
    assert train(*TINY, "epochs=4", "hydra.run.dir=run").code == 130
    run = Path("run")
    config = (run / "config.yaml").read_bytes()
    arguments = ["resume=run", "trainer=auto", "trainer.progress=false", "logger=tensorboard", "watch_every=1"]
    outcome = train(*arguments)
    assert outcome.code == 0, outcome.err
    assert (run / "config.yaml").read_bytes() == config
    assert list((run / "tensorboard").glob("events.*"))
    rows = untimed(run / "metrics.csv")
    assert [bool(row.pop("test/error")) for row in rows] == [False, True, True, True]
    assert rows == untimed(four_epochs / "metrics.csv")
    assert_equal(checkpoint_of(run)["state_dict"], checkpoint_of(four_epochs)["state_dict"])


def fake_status(run, **changes):
    status = {"state": "running", "pid": 1, "host": socket.gethostname(), "alive": datetime.now(UTC).isoformat()}
    (run / "status.json").write_text(json.dumps({**status, **changes}))


def test_where_there_are_no_locks_the_signs_of_life_decide(workdir, four_epochs, monkeypatch):
    run = copy_of(four_epochs, workdir / "run")
    fake_status(run, pid=os.getppid())
    monkeypatch.setattr("fcntl.flock", without_locks)
    before = (run / "status.json").read_bytes()
    assert refusal(train("resume=run")) == f"resume=run: still running as process {os.getppid()}"
    assert (run / "status.json").read_bytes() == before


def without_locks(descriptor, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_a_process_id_that_another_program_has_now_blocks_nothing(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "run")
    fake_status(run, pid=os.getppid())  # alive, and not ours; but nobody holds the lock
    assert train("resume=run").code == 0


def test_a_run_that_is_alive_on_another_machine_is_refused(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "run")
    fake_status(run, host="another", pid=2**22 + 1)
    expected = f"resume=run: still running as process {2**22 + 1} on another, or stopped less than two minutes ago"
    assert refusal(train("resume=run")) == expected


def test_the_clock_of_another_machine_may_be_a_little_ahead(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "run")
    fake_status(run, host="another", alive=(datetime.now(UTC) + timedelta(seconds=20)).isoformat())
    assert "still running as process 1 on another" in refusal(train("resume=run"))


@pytest.mark.parametrize(("job", "restarts", "goes_on"), [("7", "1", True), ("7", "0", False), ("8", "1", False)])
def test_a_job_that_slurm_restarted_on_another_node_goes_on(monkeypatch, workdir, four_epochs, job, restarts, goes_on):
    run = copy_of(four_epochs, workdir / "run")
    fake_status(run, host="another", slurm_job="7", slurm_restarts=0)
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    outcome = train("resume=run")
    if goes_on:
        assert outcome.code == 0, outcome.err
        assert (Run(run).status()["slurm_job"], Run(run).status()["slurm_restarts"]) == ("7", 1)
    else:
        assert (
            refusal(outcome)
            == "resume=run: still running as process 1 on another, or stopped less than two minutes ago"
        )


def test_a_sign_of_life_comes_from_a_thread(monkeypatch, tmp_path):
    monkeypatch.setattr("p2be_exp.training.callbacks.sign_of_life.INTERVAL", 0.01)
    monkeypatch.setattr("p2be_exp.runs.provenance.now", lambda: datetime.now(UTC).isoformat())
    run = Run(tmp_path)
    run.set_status("running", epochs_done=3)
    first, threads = run.status(), threading.active_count()
    with heartbeat(run):
        wait_until(lambda: run.status()["alive"] > first["alive"])
    assert threading.active_count() == threads
    assert {**run.status(), "alive": first["alive"]} == first


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 2**22 + 1},  # no such process
        {"alive": (datetime.now(UTC) - timedelta(minutes=10)).isoformat()},  # its number belongs to another by now
        {"alive": (datetime.now(UTC) + timedelta(hours=1)).isoformat()},  # the clock was set back since then
        {"alive": (datetime.now(UTC) + timedelta(hours=1)).isoformat(), "host": "another"},
        {"state": "interrupted"},
    ],
)
def test_a_run_that_only_looks_alive_is_not(workdir, four_epochs, changes):
    run = copy_of(four_epochs, workdir / "run")
    fake_status(run, **{"pid": os.getppid(), **changes})
    assert train("resume=run").code == 0


def test_a_failed_run_can_be_gone_on_with(monkeypatch, four_epochs):
    def fail():
        raise RuntimeError("out of memory")

    at_batch(monkeypatch, 2, 1, fail)
    outcome = train(*TINY, "epochs=4", "hydra.run.dir=run")
    assert outcome.code == 1
    assert "RuntimeError: out of memory" in outcome.err
    status = Run("run").status()
    assert (status["state"], status["exit_code"]) == ("failed", 1)
    assert status["error"] == "RuntimeError: out of memory"
    assert train("resume=run").code == 0
    assert_same_run(Path("run"), four_epochs)


def test_a_loss_that_is_no_number_ends_the_training():
    outcome = train(*TINY, "optim.lr=1e30", "hydra.run.dir=run")
    assert outcome.code == 1
    assert "lower optim.lr or set optim.clip_norm" in outcome.err
    assert Run("run").status()["state"] == "failed"
    assert len(rows_of(Path("run/metrics.csv"))) == 1


def test_rows_of_epochs_that_are_trained_again_are_dropped(monkeypatch, four_epochs):
    # Killed after the row and before the checkpoint of its epoch.
    original = EpochRows._publish

    def publish(self, trainer, row):
        original(self, trainer, row)
        if row["epoch"] == 3 and not done:
            done.append(True)
            raise RuntimeError("killed")

    done = []
    monkeypatch.setattr(EpochRows, "_publish", publish)
    assert train(*TINY, "epochs=4", "hydra.run.dir=run").code == 1
    run = Path("run")
    assert len(rows_of(run / "metrics.csv")) == 3
    assert checkpoint_of(run)["global_step"] == 8
    assert train("resume=run").code == 0
    assert_same_run(run, four_epochs)
