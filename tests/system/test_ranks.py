"""Several processes exist where the trainer group asks for them; a stray variable makes no rank."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from unittest import mock

import pytest

from commandline import (
    ROOT,
    TINY,
    copy_of,
    corruptions,
    evaluate_clean,
    export,
    finish,
    refusal,
    report,
    start_warm,
    tracking,
    train,
    untimed,
)
from p2be_exp.commands import refusals
from p2be_exp.config import parse_overrides
from p2be_exp.config.schema import TrainerConfig
from p2be_exp.config.typed import plain
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run
from p2be_exp.system import trainer as trainer_module
from p2be_exp.system.ranks import check_launcher, job_from_main, launcher, rank, started_from_outside, tell_workers
from p2be_exp.system.trainer import check_devices, cluster_environment

ONE = TrainerConfig("cpu", devices=1, num_nodes=1, strategy="auto", accelerator="cpu")
TWO = TrainerConfig("ddp", devices=2, num_nodes=1, strategy="ddp", accelerator="cpu")
FOUR = TrainerConfig("ddp", devices=2, num_nodes=2, strategy="ddp", accelerator="cpu")
DDP = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.progress=false")
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
FIRST = TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0"}
TWO_MACHINES = TORCHRUN | {"WORLD_SIZE": "6", "GROUP_WORLD_SIZE": "2"}
SRUN = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}
BATCH_SCRIPT = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7"}
LIGHTNING = {"LOCAL_RANK": "1", "P2BE_STARTED": "1", "MASTER_PORT": "1234"}
STRAY = [{"RANK": "1"}, {"LOCAL_RANK": "1"}, {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_PORT": "1"}]

_VARIABLES = [
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_WORLD_SIZE",
    "NODE_RANK",
    "GROUP_RANK",
    "MASTER_PORT",
    "MASTER_ADDR",
    "TORCHELASTIC_RUN_ID",
    "SLURM_PROCID",
    "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS",
    "SLURM_STEP_NUM_NODES",
    "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_JOB_ID",
    "P2BE_STARTED",
    "P2BE_WORKER",
]


@pytest.fixture(autouse=True)
def _nobody_to_wait_for(monkeypatch):
    """There is no torchrun that ends a process once the first one was refused."""
    monkeypatch.setattr(refusals, "PATIENCE", 0.0)


@pytest.fixture
def environment():
    """Sets variables, and these alone of those that a launcher sets; what is set meanwhile is undone."""
    with mock.patch.dict(os.environ):
        for name in _VARIABLES:
            os.environ.pop(name, None)
        yield os.environ.update


@pytest.mark.parametrize(
    "variables", [{}, *STRAY, TORCHRUN | {"WORLD_SIZE": "1"}, SRUN, BATCH_SCRIPT, LIGHTNING, {"MASTER_PORT": "abc"}]
)
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


def test_what_the_first_process_starts_for_other_ends_is_none_of_its_job(environment):
    """A plug-in that evaluates in a process of its own: it would wait for another one that nobody starts."""
    environment({"P2BE_STARTED": str(os.getppid()), "LOCAL_RANK": "0", "NODE_RANK": "0", "MASTER_PORT": "1234"})
    first = cluster_environment(TWO)
    assert not first.creates_processes_externally
    assert not {"LOCAL_RANK", "NODE_RANK", "MASTER_PORT"} & set(os.environ)
    environment({"LOCAL_RANK": "0"})
    assert cluster_environment(TWO).creates_processes_externally


def test_lightning_neither_requeues_nor_wants_tasks_per_node(environment, monkeypatch):
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    environment(SRUN | {"SLURM_LOCALID": "1", "SLURM_NODEID": "0"})
    tasks = cluster_environment(TWO)
    assert tasks.auto_requeue is False
    assert (tasks.global_rank(), tasks.local_rank(), tasks.world_size()) == (1, 1, 2)


@pytest.mark.parametrize("variables", [{}, {"NODE_RANK": "0"}, {"NODE_RANK": "1"}, {"SLURM_NTASKS": "2"}, STRAY[-1]])
def test_several_machines_need_a_launcher_and_are_told_what_to_type(environment, workdir, variables):
    environment(variables)
    given = [*TINY, *DDP, "trainer.num_nodes=2", "plugins=[]", "task_name=a b"]
    said = refusal(train(*given))
    why, command = said.split(": ", 1)
    assert why == "trainer.num_nodes=2"
    reason, typed = command.split(": ", 1)
    assert reason == "nothing starts the processes of the other machines; run on each, with HOST the first one"
    words = shlex.split(typed)
    assert words[:6] == [
        "torchrun",
        "--nnodes=2",
        "--nproc-per-node=2",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=HOST:29500",
        "train.py",
    ]
    assert parse_overrides(words[6:]) == {**parse_overrides(given), "hydra.run.dir": "FOLDER"}
    assert list(workdir.iterdir()) == []


def test_the_command_to_type_names_no_second_folder(environment, workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "a run")
    machines = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.num_nodes=2")
    for outcome in (
        train(*TINY, *machines, "hydra.run.dir=new"),
        train("resume=a run", *machines),
        evaluate_clean("run=a run", *machines),
    ):
        said = refusal(outcome)
        assert said.startswith("trainer.num_nodes=2: ")
        assert "FOLDER" not in said
    assert shlex.split(said)[-7:-4] == ["evaluate.py", "run=a run", "trainer=ddp"]
    assert list(workdir.iterdir()) == [run]


@pytest.mark.parametrize(
    ("variables", "trainer", "said"),
    [
        (TORCHRUN, ONE, "1 process, but torchrun started 2; for 2: trainer=ddp trainer.accelerator=cpu D2 N1"),
        (TORCHRUN, replace(ONE, accelerator="auto"), "1 process, but torchrun started 2; for 2: trainer=ddp D2 N1"),
        (TORCHRUN, FOUR, "4 processes, but torchrun started 2; for 2: D2 N1"),
        (TORCHRUN | {"WORLD_SIZE": "1"}, TWO, "2 processes, but torchrun started 1; for 1: D1 N1"),
        (TWO_MACHINES, FOUR, "4 processes, but torchrun started 6; for 6: D3 N2"),
        (TWO_MACHINES | {"WORLD_SIZE": "5"}, FOUR, "4 processes, but torchrun started 5"),
        (TORCHRUN | SRUN, ONE, "1 process, but torchrun started 2; for 2: trainer=ddp trainer.accelerator=cpu D2 N1"),
        (SRUN, replace(TWO, devices=3), "3 processes, but srun started 2; for 2: D2 N1"),
        (SRUN | {"SLURM_STEP_NUM_NODES": "2"}, FOUR, "4 processes, but srun started 2; for 2: D1 N2"),
    ],
)
def test_another_number_of_processes_than_asked_for_is_refused(environment, variables, trainer, said):
    environment(variables)
    said = said.replace(" D", " trainer.devices=").replace(" N", " trainer.num_nodes=")
    with pytest.raises(BadInput) as refused:
        check_launcher(trainer)
    asked = f"trainer.devices={trainer.devices} trainer.num_nodes={trainer.num_nodes}: "
    assert str(refused.value) == asked + said


@pytest.mark.parametrize("variables", [FIRST, TORCHRUN], ids=["first", "second"])
def test_torchrun_beside_a_job_of_one_process_is_refused_before_anything_is_made(
    environment, workdir, four_epochs, variables
):
    environment(variables)
    run = copy_of(four_epochs, workdir / "run")
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*")}
    one = "trainer.devices=1 trainer.num_nodes=1: 1 process"
    for outcome, what in (
        (train(*TINY, "hydra.run.dir=new"), f"{one}, but "),
        (train(*TINY, "dataset=cifar10", "data_dir=nowhere"), f"{one}, but "),
        (train("resume=run"), f"{one}, but "),
        (evaluate_clean("run=run"), f"{one}, but "),
        (train("-m", *TINY, "seed=0,1", "hydra.sweep.dir=new"), "a sweep: runs in one process, but "),
        (train("sweeps=table2", "scale=small", "hydra.sweep.dir=new"), "a sweep: runs in one process, but "),
        (train(*TINY, "dry_run=true"), "dry_run=true: runs in one process, but "),
        (corruptions("make", "dataset=digits", "out=new"), "p2be_exp.corruptions make: runs in one process, but "),
        (export("run=run"), "p2be_exp.export: runs in one process, but "),
        (report("run", "out=new"), "p2be_exp.report: runs in one process, but "),
        (report("compare", "run", "run", "out=new"), "p2be_exp.report: runs in one process, but "),
        (tracking("workspace", "dry_run=true"), "p2be_exp.tracking: runs in one process, but "),
    ):
        said = refusal(outcome)
        assert said.startswith(f"{'rank 1: ' if variables == TORCHRUN else ''}{what}torchrun started 2")
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*")} == before
    assert list(workdir.iterdir()) == [run]


def test_a_rank_waits_to_be_ended_before_it_repeats_what_the_first_one_says(environment, workdir, monkeypatch):
    waited = []
    monkeypatch.setattr(refusals, "PATIENCE", 7.0)
    monkeypatch.setattr(refusals.time, "sleep", waited.append)
    environment(FIRST)
    assert refusal(train("epochs=0")) == "epochs=0: must be 1 or more"
    environment({"RANK": "2", "WORLD_SIZE": "4"})  # the first one of another machine
    assert refusal(train("epochs=0")) == "rank 2: epochs=0: must be 1 or more"
    assert waited == []
    environment({"RANK": "3", "LOCAL_RANK": "1"})
    assert refusal(train("epochs=0")) == "rank 3: epochs=0: must be 1 or more"
    assert waited == [7.0]
    environment({"WORLD_SIZE": "1"})
    assert refusal(train("epochs=0")) == "epochs=0: must be 1 or more"


@pytest.mark.parametrize("port", ["abc", "0", "70000", "", "-1", "1e4", "2²"])
@pytest.mark.parametrize("variables", [FIRST, SRUN | {"SLURM_PROCID": "0"}], ids=["torchrun", "srun"])
def test_a_port_that_is_none_is_refused_where_processes_meet_there(environment, workdir, variables, port):
    environment(variables | {"MASTER_PORT": port})
    said = refusal(train(*TINY, *DDP, "hydra.run.dir=run"))
    assert said == f"MASTER_PORT={port}: must be a port number between 1 and 65535"
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize("port", ["1", "29500", "65535"])
def test_a_port(environment, port):
    environment(TORCHRUN | {"MASTER_PORT": port})
    check_launcher(TWO)


@pytest.mark.parametrize(("name", "value"), [("WORLD_SIZE", "two"), ("WORLD_SIZE", ""), ("RANK", "x"), ("RANK", "")])
def test_a_launchers_variable_that_is_no_number_is_refused(environment, workdir, name, value):
    environment(FIRST | {name: value})
    said = refusal(train(*TINY, *DDP, "hydra.run.dir=run"))
    assert said.endswith(f"{name}={value}: must be a whole number, as a launcher sets it")


def test_own_processes_go_by_no_port_and_no_address_of_others(environment):
    environment({"MASTER_PORT": "abc", "MASTER_ADDR": "nowhere.invalid"})
    check_launcher(TWO)
    lightnings = cluster_environment(TWO)
    assert lightnings.main_address == "127.0.0.1"
    assert "MASTER_PORT" not in os.environ  # what starts the others says where it listens


@pytest.mark.parametrize(
    ("variables", "refused"),
    [
        (TORCHRUN | {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}, True),
        (TORCHRUN | {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}, False),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "1,3"}, True),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}, False),
    ],
)
def test_more_processes_on_a_machine_than_devices_are_refused(environment, monkeypatch, variables, refused):
    """Lightning looks for a GPU of each one's number among ``trainer.devices``."""
    monkeypatch.setattr(trainer_module, "on_gpu", lambda config: True)
    monkeypatch.setattr(trainer_module.torch.cuda, "device_count", lambda: 2)
    environment(variables)
    config = replace(FOUR, accelerator="auto", precision="auto")
    if not refused:
        check_devices(config)
        return
    with pytest.raises(BadInput, match=r"^trainer.devices=2: [34] processes were started on this machine$"):
        check_devices(config)


def test_a_step_of_fewer_tasks_than_its_job_asked_for_on_a_node(environment):
    environment(SRUN | {"SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2"})
    cluster_environment(TWO).validate_settings(num_devices=2, num_nodes=1)


def test_a_job_is_left_to_the_processes_that_lightning_starts_and_to_no_others(environment):
    job = {"run": "x", "config": {"trainer": plain(TWO)}, "resume": False}
    tell_workers(ONE, job)
    assert job_from_main() is None
    tell_workers(TWO, job)
    assert job_from_main() is None
    environment(LIGHTNING)
    assert job_from_main() == job


@pytest.mark.parametrize(
    "variables", [STRAY[-1], TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"}, SRUN], ids=lambda each: next(iter(each))
)
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
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="here a process cannot be given one CPU")
def test_a_process_of_its_own_on_one_cpu_with_stray_variables(environment, workdir, monkeypatch):
    """Lightning and its loggers read the variables when they are imported, OpenMP the CPUs when it is loaded."""
    environment({"RANK": "1", "LOCAL_RANK": "1"} | SRUN)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # which what is started inherits
    try:
        arguments = [str(ROOT / "train.py"), *TINY, "epochs=1", "logger=tensorboard", "hydra.run.dir=run"]
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        os.sched_setaffinity(0, cpus)
    outcome = finish(process)
    assert outcome.code == 0, outcome.err
    assert "device  CPU, float32, 1 thread\n" in outcome.out
    assert Run("run").status()["state"] == "finished"
    assert list((workdir / "run" / "tensorboard").glob("events.*"))


def test_several_processes_from_outside_need_a_folder_that_they_share(environment, workdir):
    environment(SRUN)
    said = refusal(train(*TINY, *DDP))
    assert said == "hydra.run.dir: required with several processes from a launcher; name a folder that they share"


@pytest.mark.slow
def test_of_two_trainings_that_want_one_folder_one_gets_it(environment, workdir):
    """As srun starts them where trainer=ddp was forgotten."""
    trainings = []
    for number in ("0", "1"):
        environment(SRUN | {"SLURM_PROCID": number})
        trainings.append(
            start_warm(ROOT / "train.py", *TINY, "epochs=1", f"seed={number}", "hydra.run.dir=run", cwd=workdir)
        )
    outcomes = [finish(training) for training in trainings]
    assert sorted(outcome.code for outcome in outcomes) == [0, 2], [outcome.err for outcome in outcomes]
    winner = next(number for number, outcome in enumerate(outcomes) if outcome.code == 0)
    told = outcomes[1 - winner].err.removeprefix("error: hydra.run.dir=run: ")
    assert told.startswith(("in use by ", "already holds a run; "))  # as it came before the other's end, or after
    assert Run("run").status()["state"] == "finished"
    assert Run("run").config().seed == Run("run").info()["seed"] == winner
