"""What was started by ``p2be-train`` or ``p2be-evaluate`` says so, wherever it tells what to type."""

import os
import shlex
import signal
from pathlib import Path

import pytest

import p2be_exp
from commandline import TINY, at_batch, copy_of, corruptions, evaluate, export, refusal, report, tracking, train
from p2be_exp.runs.run import Run

TRAIN, EVALUATE = {"program": "/env/bin/p2be-train"}, {"program": "/env/bin/p2be-evaluate"}


def stop():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("command", [train, evaluate, corruptions, export, report, tracking])
def test_every_command_tells_its_version(command):
    outcome = command("--version")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"p2be-exp {p2be_exp.__version__}\n", "")


def test_the_help_shows_what_to_type():
    for command, file, program in ((train, "train.py", TRAIN), (evaluate, "evaluate.py", EVALUATE)):
        by_file, by_program = command("--help").out, command("--help", **program).out
        assert f"  python {file} " in by_file
        assert by_program == by_file.replace(f"python {file}", Path(program["program"]).name)


def test_refusals_name_the_programs():
    assert refusal(train("--foo", **TRAIN)).startswith("--foo: not a flag of p2be-train, which takes ")
    assert refusal(evaluate("--foo", **EVALUATE)).startswith("--foo: not a flag of p2be-evaluate, which takes ")
    assert refusal(train("run=x", **TRAIN)).endswith("it belongs to p2be-evaluate or python -m p2be_exp.export")


def test_hydras_keys_go_with_the_other_program(workdir, four_epochs):
    copy_of(four_epochs, workdir / "run")
    told = refusal(evaluate("run=run", "hydra.run.dir=x", **EVALUATE))
    assert told.startswith("hydra.run.dir=x: is for p2be-train; p2be-evaluate has no keys of Hydra's")


def test_torchrun_looks_for_a_program_as_a_shell_does(workdir):
    given = [*TINY, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.num_nodes=2"]
    words = shlex.split(refusal(train(*given, **TRAIN)).split(": ")[-1])
    assert words[:1] + words[5:8] == ["torchrun", "--no-python", "p2be-train", given[0]]
    assert words[-1] == "hydra.run.dir=FOLDER"


def test_a_training_that_was_stopped_tells_the_program_and_its_run_keeps_it(workdir, monkeypatch):
    at_batch(monkeypatch, 0, 1, stop)
    outcome = train(*TINY, "hydra.run.dir=run", **TRAIN)
    assert outcome.code == 143, outcome.err
    assert outcome.err.splitlines()[-1] == "stopped; to continue: p2be-train resume=run"
    assert Run("run").info()["command"] == ["p2be-train", *TINY, "hydra.run.dir=run"]


def test_a_sweep_that_was_stopped_tells_the_program(workdir, monkeypatch):
    at_batch(monkeypatch, 0, 1, stop)
    outcome = train("-m", *TINY, "seed=0,1", "hydra.sweep.dir=sweep", **TRAIN)
    assert outcome.code == 143, outcome.err
    *_, job, sweep = outcome.err.splitlines()
    assert job == "stopped; to continue: p2be-train resume=sweep/0"
    assert sweep == f"the sweep: p2be-train -m {' '.join(TINY)} seed=0,1 hydra.sweep.dir=sweep"


def test_an_evaluation_that_was_stopped_tells_the_program(workdir, four_epochs, monkeypatch):
    from p2be_exp.evaluation.module import EvaluationModule

    copy_of(four_epochs, workdir / "run")
    monkeypatch.setattr(EvaluationModule, "test_step", lambda *_: stop())
    given = ("run=run", "corruption=none", "attack=none")
    outcome = evaluate(*given, **EVALUATE)
    assert outcome.code == 143, outcome.err
    assert outcome.err.splitlines()[-1] == f"stopped; to continue: p2be-evaluate {' '.join(given)}"
