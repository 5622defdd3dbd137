"""A launcher that starts the same command again: the later attempt goes on with the run of the earlier one."""

import os
import socket
from unittest import mock

import pytest

from commandline import (
    TINY,
    assert_equal,
    at_batch,
    checkpoint_of,
    copy_of,
    evaluate_clean,
    refusal,
    rows_of,
    train,
    untimed,
)
from p2be_exp.commands import train as train_command
from p2be_exp.config.schema import TrainerConfig
from p2be_exp.runs.run import Run
from p2be_exp.system.attempts import follows, is_complete, this_attempt
from p2be_exp.system.together import start_of

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
SLURM = {"SLURM_JOB_ID": "7"}
AGAIN = {"TORCHELASTIC_RESTART_COUNT": "1", "SLURM_RESTART_COUNT": "1"}
ARGUMENTS = (*TINY, "epochs=4", "hydra.run.dir=run")


@pytest.fixture
def environment():
    """Sets variables, and these alone of those that a launcher sets."""
    with mock.patch.dict(os.environ):
        for name in list(os.environ):
            if name.startswith(("TORCHELASTIC", "SLURM", "RANK", "LOCAL_RANK", "WORLD_SIZE")):
                del os.environ[name]
        yield os.environ.update


def fail():
    raise RuntimeError("boom")


def test_nothing_is_said_of_a_process_that_no_launcher_started(environment):
    assert this_attempt() == {}
    environment({"TORCHELASTIC_RESTART_COUNT": "1", "SLURM_RESTART_COUNT": "1", "RANK": "0"})
    assert this_attempt() == {}
    assert not follows({})
    assert not follows({"slurm_job": "7", "slurm_restarts": 0})


HERE = {"torchrun_agent": os.getppid(), "host": socket.gethostname(), "pid": os.getpid() + 1}
ELSEWHERE = {"torchrun_agent": os.getppid() + 1, "host": "another", "pid": 1}


@pytest.mark.parametrize(
    ("variables", "status", "later"),
    [
        (SLURM | AGAIN, {"slurm_job": "7", "slurm_restarts": 0}, True),
        (SLURM | AGAIN, {"slurm_job": "7", "slurm_restarts": 1}, False),
        (SLURM | AGAIN, {"slurm_job": "8", "slurm_restarts": 0}, False),
        (SLURM, {"slurm_job": "7", "slurm_restarts": 0}, False),
        (TORCHRUN | AGAIN, {"torchrun_id": "x", "torchrun_restarts": 0, **HERE}, True),
        (TORCHRUN | AGAIN, {"torchrun_id": "x", "torchrun_restarts": 0, **ELSEWHERE}, True),
        (TORCHRUN | AGAIN, {"torchrun_id": "y", "torchrun_restarts": 0, **HERE}, False),
        (TORCHRUN | AGAIN, {"torchrun_id": "x", "torchrun_restarts": 1, **ELSEWHERE}, False),
        # Another machine's processes failed: the torchrun of this one starts its own again without counting it.
        (TORCHRUN, {"torchrun_id": "x", "torchrun_restarts": 0, **HERE}, True),
        (TORCHRUN, {"torchrun_id": "x", "torchrun_restarts": 0, **HERE, "pid": os.getpid()}, False),
        (TORCHRUN, {"torchrun_id": "x", "torchrun_restarts": 0, **HERE, "host": "another"}, False),
        (TORCHRUN, {"torchrun_id": "x", "torchrun_restarts": 0, **HERE, "torchrun_agent": 1}, False),
        (
            TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "x"},
            {"torchrun_id": "x", **ELSEWHERE, "torchrun_restarts": 0},
            False,
        ),
        (TORCHRUN | AGAIN, {"state": "running", "pid": 1, "host": "another"}, False),
        (TORCHRUN | SLURM | AGAIN, {"slurm_job": "7", "slurm_restarts": 0}, True),
    ],
)
def test_a_later_attempt_of_the_launch_that_wrote_a_status(environment, variables, status, later):
    environment(variables)
    assert follows(status) is later


@pytest.mark.parametrize("key", ["slurm_restarts", "torchrun_restarts", "torchrun_agent"])
def test_a_status_that_names_a_launch_without_the_attempt_is_none(environment, key):
    environment(TORCHRUN | SLURM)
    status = this_attempt()
    assert is_complete(status)
    assert is_complete({})
    del status[key]
    assert not is_complete(status)


@pytest.mark.parametrize(
    ("variables", "place"),
    [(TORCHRUN, (0, 1)), (TORCHRUN, (2, 1)), (SLURM, (2, 1))],
    ids=["torchrun, before a checkpoint", "torchrun, after two epochs", "slurm, after two epochs"],
)
def test_a_restarted_training_goes_on_in_its_folder(environment, workdir, monkeypatch, four_epochs, variables, place):
    environment(variables)
    with monkeypatch.context() as patch:
        at_batch(patch, *place, fail)
        assert train(*ARGUMENTS).code == 1
    run = Run("run")
    assert (run.status()["state"], run.checkpoint().exists()) == ("failed", place[0] > 0)
    environment(AGAIN)
    outcome = train(*ARGUMENTS)
    assert outcome.code == 0, outcome.err
    assert run.status()["state"] == "finished"
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_equal(checkpoint_of(run.path)[part], checkpoint_of(four_epochs)[part], part)
    for file in ("metrics.csv", "results.csv"):
        assert untimed(run.path / file) == untimed(four_epochs / file)
    assert [each.name for each in workdir.iterdir()] == ["run"]


def test_only_the_run_of_the_same_launch_and_configuration_is_gone_on_with(environment, workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "run")
    environment(TORCHRUN | AGAIN)
    resume = "hydra.run.dir=run: already holds a run; resume=run resumes it"
    assert refusal(train(*ARGUMENTS)) == resume  # nothing says that torchrun made it
    environment({"TORCHELASTIC_RESTART_COUNT": "0"})
    Run(run).set_status("finished", exit_code=0)
    assert refusal(train(*ARGUMENTS)) == resume  # it is this attempt's
    environment(AGAIN)
    said = refusal(train(*ARGUMENTS, "seed=1"))
    assert said == "hydra.run.dir=run: already holds a run, with seed=0, not 1; choose another folder"
    assert untimed(run / "metrics.csv") == untimed(four_epochs / "metrics.csv")
    environment({"TORCHELASTIC_RUN_ID": "y"})
    assert refusal(train(*ARGUMENTS)) == resume
    environment({"TORCHELASTIC_RUN_ID": "x"})
    (run / "checkpoints" / "last.ckpt").write_bytes(b"half")
    assert refusal(train(*ARGUMENTS)) == "hydra.run.dir=run: checkpoints/last.ckpt is damaged"


@pytest.mark.parametrize("checkpoint", [False, True])
def test_the_other_ranks_go_by_the_checkpoint(environment, workdir, monkeypatch, four_epochs, checkpoint):
    """Rank 0 may be making the run while they look."""
    environment(TORCHRUN | AGAIN | {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"})
    if checkpoint:
        copy_of(four_epochs, workdir / "run")
    seen = []
    monkeypatch.setattr(train_command, "train_job", lambda config, run, resume: seen.append((run.path.name, resume)))
    assert train(*ARGUMENTS, "trainer=ddp", "trainer.accelerator=cpu").code == 0
    assert seen == [("run", checkpoint)]


def test_a_restart_of_a_resumed_training_and_of_an_evaluation_goes_on(environment, workdir, monkeypatch, four_epochs):
    environment(TORCHRUN)
    with monkeypatch.context() as patch:
        at_batch(patch, 1, 1, fail)
        assert train(*ARGUMENTS).code == 1
    environment({"TORCHELASTIC_RUN_ID": "y"})  # a launch of its own
    with monkeypatch.context() as patch:
        at_batch(patch, 3, 1, fail)
        assert train("resume=run").code == 1
    environment(AGAIN)
    outcome = train("resume=run")
    assert outcome.code == 0, outcome.err
    assert untimed(workdir / "run" / "metrics.csv") == untimed(four_epochs / "metrics.csv")
    environment({"TORCHELASTIC_RESTART_COUNT": "0"})
    results = workdir / "run" / "evaluations" / "it" / "results.csv"
    assert evaluate_clean("run=run", "name=it").code == 0
    before = rows_of(results)
    environment(AGAIN)
    assert evaluate_clean("run=run", "name=it").code == 0
    assert rows_of(results) == before


def test_every_attempt_has_a_start_of_its_own_which_all_machines_know(environment):
    two = TrainerConfig(devices=2, num_nodes=1)
    environment(TORCHRUN | {"WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1", "MASTER_PORT": "1"})
    starts = [start_of(two)]
    environment({"TORCHELASTIC_RESTART_COUNT": "1"})
    starts.append(start_of(two))
    environment({"MASTER_PORT": "2"})
    starts.append(start_of(two))
    # Of several machines only the one whose process failed counts; each attempt has a port of its own.
    environment({"GROUP_WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_USE_AGENT_STORE": "False"})
    of_one = start_of(two)
    environment({"TORCHELASTIC_RESTART_COUNT": "0"})
    assert start_of(two) == of_one
    environment({"MASTER_PORT": "3"})
    starts += [of_one, start_of(two)]
    assert len(set(starts)) == 5


def test_a_second_torchrun_at_the_same_port_is_another_start(environment):
    two = TrainerConfig(devices=2, num_nodes=1)
    environment({**TORCHRUN, "WORLD_SIZE": "2", "MASTER_PORT": "29500", "GROUP_WORLD_SIZE": "1"})
    starts = []
    for each in ("a/attempt_0/0", "a/attempt_0/1", "b/attempt_0/0"):
        environment({"TORCHELASTIC_ERROR_FILE": f"/tmp/torchelastic_{each}/error.json"})
        starts.append(start_of(two))
    assert starts[0] == starts[1] != starts[2]
    environment({"GROUP_WORLD_SIZE": "2"})  # each machine's torchrun has its own
    assert start_of(two) not in starts
    of_b = start_of(two)
    environment({"TORCHELASTIC_ERROR_FILE": "/tmp/torchelastic_a/attempt_0/0/error.json"})
    assert start_of(two) == of_b
