"""Several processes exist where the trainer group asks for them; a stray variable makes no rank."""

import json
import os
import socket
from unittest import mock

import pytest

from commandline import ROOT, TINY, evaluate_clean, finish, refusal, start, train, untimed
from p2be_exp.errors import BadInput
from p2be_exp.ranks import check_launcher, job_from_main, launcher, rank, started_from_outside, tell_workers
from p2be_exp.runs import Run
from p2be_exp.trainer import cluster_environment

ONE = {"devices": 1, "num_nodes": 1}
TWO = {"devices": 2, "num_nodes": 1}
FOUR = {"devices": 2, "num_nodes": 2}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
SRUN = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}
BATCH_SCRIPT = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}
LIGHTNING = {"LOCAL_RANK": "1", "P2BE_STARTED": "1", "MASTER_PORT": "1234"}
STRAY = [{"RANK": "1"}, {"LOCAL_RANK": "1"}, {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_PORT": "1"}]

_VARIABLES = [
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "NODE_RANK",
    "GROUP_RANK",
    "MASTER_PORT",
    "MASTER_ADDR",
    "TORCHELASTIC_RUN_ID",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_JOB_ID",
    "P2BE_STARTED",
    "P2BE_WORKER",
]


def free_port() -> int:
    with socket.socket() as some:
        some.bind(("127.0.0.1", 0))
        return some.getsockname()[1]


@pytest.fixture
def environment():
    """Sets variables, and these alone of those that a launcher sets; what is set meanwhile is undone."""
    with mock.patch.dict(os.environ):
        for name in _VARIABLES:
            os.environ.pop(name, None)
        yield os.environ.update


@pytest.mark.parametrize("variables", [{}, *STRAY, TORCHRUN, SRUN, BATCH_SCRIPT, LIGHTNING])
def test_a_job_of_one_process_has_rank_0_whatever_the_environment_says(environment, variables):
    environment(variables)
    assert launcher(ONE) is None
    assert rank(ONE) == 0
    assert not started_from_outside(ONE)
    check_launcher(ONE)
    lightnings = cluster_environment(ONE)
    assert not lightnings.creates_processes_externally
    assert (lightnings.local_rank(), lightnings.node_rank(), lightnings.global_rank()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("variables", "trainer", "by", "number"),
    [
        ({}, TWO, "lightning", 0),
        ({"RANK": "1"}, TWO, "lightning", 0),
        ({"LOCAL_RANK": "1"}, TWO, "lightning", 0),
        (BATCH_SCRIPT, TWO, "lightning", 0),
        (TORCHRUN, TWO, "torchrun", 1),
        (SRUN, TWO, "slurm", 1),
        (TORCHRUN | BATCH_SCRIPT, TWO, "torchrun", 1),
        (STRAY[-1], TWO, "lightning", 0),
        (LIGHTNING, TWO, "lightning", 1),
    ],
)
def test_the_rank_of_one_of_several_processes(environment, variables, trainer, by, number):
    environment(variables)
    assert launcher(trainer) == by
    assert rank(trainer) == number
    assert started_from_outside(trainer) == (by != "lightning")
    check_launcher(trainer)


def test_lightning_starts_the_processes_that_nobody_else_started(environment):
    environment(BATCH_SCRIPT | {"RANK": "1", "LOCAL_RANK": "1"})
    first = cluster_environment(TWO)
    assert not first.creates_processes_externally
    assert "LOCAL_RANK" not in os.environ
    environment({"MASTER_PORT": "1", "LOCAL_RANK": str(first.local_rank())})  # as Lightning does then
    again = cluster_environment(TWO)  # of the evaluation behind the training, by the same processes
    assert again.creates_processes_externally
    assert again.local_rank() == rank(TWO) == 0
    environment(LIGHTNING)
    worker = cluster_environment(TWO)
    assert worker.creates_processes_externally
    assert worker.local_rank() == 1


def test_lightning_neither_requeues_nor_wants_tasks_per_node(environment, monkeypatch):
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    environment(SRUN | {"SLURM_LOCALID": "1", "SLURM_NODEID": "0"})
    tasks = cluster_environment(TWO)
    assert tasks.auto_requeue is False
    assert (tasks.global_rank(), tasks.local_rank(), tasks.world_size()) == (1, 1, 2)


def test_several_machines_need_a_launcher(environment):
    with pytest.raises(BadInput, match=r"^trainer.num_nodes=2: several machines need torchrun or srun$"):
        check_launcher(FOUR)


@pytest.mark.parametrize(("variables", "by"), [(TORCHRUN, "torchrun"), (SRUN, "srun")])
def test_another_number_of_processes_than_asked_for_is_refused(environment, variables, by):
    environment(variables)
    with pytest.raises(BadInput) as refused:
        check_launcher(FOUR)
    assert str(refused.value) == f"trainer.devices=2 trainer.num_nodes=2: 4 processes, but {by} started 2"


def test_a_job_is_left_to_the_processes_that_lightning_starts_and_to_no_others(environment):
    job = {"run": "x", "config": {"trainer": TWO}, "resume": False}
    tell_workers(job | {"config": {"trainer": ONE}})
    assert job_from_main() is None
    tell_workers(job)
    assert job_from_main() is None
    environment(LIGHTNING)
    assert job_from_main() == job


@pytest.mark.parametrize("variables", [*STRAY, TORCHRUN, SRUN], ids=lambda each: next(iter(each)))
def test_a_stray_variable_leaves_a_training_and_an_evaluation_whole(environment, workdir, variables):
    environment(variables)
    outcome = train(*TINY, "epochs=1", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert "results in run" in outcome.out
    assert Run("run").status()["state"] == "finished"
    assert json.loads((workdir / "run" / "results.json").read_text())["clean_error"] is not None
    evaluated = evaluate_clean("run=run", "name=again")
    assert evaluated.code == 0, evaluated.err
    assert (workdir / "run" / "evaluations" / "again" / "results.csv").is_file()


def test_lightnings_own_variables_do_not_change_a_run(workdir, monkeypatch, four_epochs):
    for name, value in {"LIMIT_TRAIN_BATCHES": "1", "MAX_STEPS": "2", "FAST_DEV_RUN": "1", "MIN_EPOCHS": "9"}.items():
        monkeypatch.setenv(f"PL_TRAINER_{name}", value)
    outcome = train(*TINY, "epochs=4", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert untimed(workdir / "run" / "metrics.csv") == untimed(four_epochs / "metrics.csv")
    assert os.environ["PL_TRAINER_MAX_STEPS"] == "2"


def test_a_stray_variable_leaves_a_sweep_whole(environment, workdir):
    environment(SRUN | {"RANK": "1"})
    outcome = train("-m", *TINY, "epochs=1", "seed=0,1", "hydra.sweep.dir=sweep")
    assert outcome.code == 0, outcome.err
    for job in ("0", "1"):
        assert Run(workdir / "sweep" / job).status()["state"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{"RANK": "1", "LOCAL_RANK": "1"}, SRUN], ids=["RANK", "SLURM_PROCID"])
def test_a_process_of_its_own_with_a_stray_variable(environment, workdir, variables):
    """Lightning and its loggers read the variables when they are imported."""
    environment(variables)
    arguments = [*TINY, "epochs=1", "logger=tensorboard", "hydra.run.dir=run"]
    outcome = finish(start(ROOT / "train.py", *arguments, cwd=workdir))
    assert outcome.code == 0, outcome.err
    assert Run("run").status()["state"] == "finished"
    assert list((workdir / "run" / "tensorboard").glob("events.*"))


@pytest.mark.slow
def test_two_processes_beside_a_stray_rank(environment, workdir):
    environment({"RANK": "1", "LOCAL_RANK": "1", "MASTER_PORT": str(free_port())})
    two = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.progress=false"]
    outcome = finish(start(ROOT / "train.py", *TINY, *two, "epochs=1", "hydra.run.dir=run", cwd=workdir))
    assert outcome.code == 0, outcome.err
    assert Run("run").info()["trained_on"]["processes"] == 2
    assert Run("run").status()["state"] == "finished"


def test_several_processes_from_outside_need_a_folder_that_they_share(environment, workdir):
    environment(SRUN)
    said = refusal(train(*TINY, "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"))
    assert said == "hydra.run.dir: several processes were started from outside; name a folder that they share"


@pytest.mark.slow
def test_of_two_trainings_that_want_one_folder_one_gets_it(environment, workdir):
    """As torchrun starts them where trainer=ddp was forgotten."""
    trainings = []
    for number in ("0", "1"):
        environment(TORCHRUN | {"RANK": number, "LOCAL_RANK": number})
        trainings.append(
            start(ROOT / "train.py", *TINY, "epochs=1", f"seed={number}", "hydra.run.dir=run", cwd=workdir)
        )
    outcomes = [finish(training) for training in trainings]
    assert sorted(outcome.code for outcome in outcomes) == [0, 2], [outcome.err for outcome in outcomes]
    winner = next(number for number, outcome in enumerate(outcomes) if outcome.code == 0)
    told = outcomes[1 - winner].err.removeprefix("error: hydra.run.dir=run: ")
    assert told.startswith(
        ("in use by process ", "holds a run already; ")
    )  # as it came before the other's end, or after
    assert Run("run").status()["state"] == "finished"
    assert Run("run").config()["seed"] == Run("run").info()["seed"] == winner
