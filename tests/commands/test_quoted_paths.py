"""Run folders of any name: what a command says to type does what it says, and a name needs no quotes of a grammar."""

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from commandline import (
    TINY,
    assert_equal,
    at_batch,
    checkpoint_of,
    copy_of,
    corruptions,
    evaluate_clean,
    export,
    refusal,
    train,
)
from grids import in_turn
from p2be_exp.runs.run import Run
from p2be_exp.system.command_line import as_override
from p2be_exp.training.recording import resume_command

pytestmark = pytest.mark.usefixtures("workdir")

NAMES = ["a (1), ü=2", "it's", 'the "best" run', "50 $HOME", "a=b", "two\nlines", "a~b", "C:\\new\\", "[1]", "#1;&"]


def shell(line: str) -> list[str]:
    """The arguments that a shell makes of a line."""
    command = f"printf '%s\\0' {line.removeprefix('python train.py')}"
    return subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout.decode().split("\0")[:-1]


def test_the_printed_resume_command_runs(monkeypatch, four_epochs):
    """One name with all the trouble, by way of everything that prints and reads it."""
    name = """a (1), ü=2 it's "x" $y \\"""
    with monkeypatch.context() as patched:
        at_batch(patched, 1, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        stopped = train(*TINY, "epochs=4", as_override("hydra.run.dir", name))
    assert stopped.code == 143, stopped.err
    assert [each.name for each in Path().iterdir()] == [name]
    again = refusal(train(*TINY, f"hydra.run.dir={name}"))
    assert again.endswith(f"already holds a run; {shlex.quote(as_override('resume', name))} resumes it")
    outcome = train(*shell(stopped.err.splitlines()[-1].removeprefix("stopped; to continue: ")))
    assert outcome.code == 0, outcome.err
    assert_equal(checkpoint_of(Path(name))["state_dict"], checkpoint_of(four_epochs)["state_dict"])
    assert [each.name for each in Path().iterdir()] == [name]


@pytest.mark.parametrize(("name", "command"), in_turn(NAMES, [evaluate_clean, export]))
def test_a_run_is_found_under_its_name_and_under_what_is_printed_of_it(
    workdir, four_epochs, name, command, monkeypatch
):
    (workdir / name).symlink_to(four_epochs)
    found: list[str] = []

    def load_checkpoint(run, *arguments, **more):
        found.append(str(run.path))
        raise KeyboardInterrupt  # far enough

    for module in ("commands.train", "commands.evaluate", "commands.export"):
        monkeypatch.setattr(f"p2be_exp.{module}.load_checkpoint", load_checkpoint)
    for argument in (*shell(resume_command(Run(name))), f"resume={name}"):
        assert train(argument).code == 130
    for argument in (as_override("run", name), f"run={name}"):
        assert command(argument).code == 130
    assert found == [name] * 4


def test_a_folder_named_as_the_home_folder_is_printed_as_one_of_here(workdir, four_epochs, monkeypatch):
    monkeypatch.setenv("HOME", str(workdir / "home"))
    for folder in ("~", "home/läuft"):
        (workdir / folder).parent.mkdir(exist_ok=True)
        (workdir / folder).symlink_to(four_epochs)
    assert resume_command(Run("~")) == "python train.py 'resume=\"./~\"'"
    assert resume_command(Run("r"), ["a", "b.c"]) == "python train.py 'plugins=[a,b.c]' resume=r"
    assert Run.open("~/läuft").path == workdir / "home" / "läuft"
    assert "no checkpoints/best.ckpt" in refusal(evaluate_clean("run=~/läuft", "checkpoint=best"))


@pytest.mark.parametrize("name", ["a (1), ü=2", "two\nlines", "C:\\new\\"])
def test_a_sweep_says_how_it_is_gone_on_with(monkeypatch, name):
    arguments = [*TINY, "epochs=1", "limit_train=16", "limit_test=10"]
    at_batch(monkeypatch, 0, 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
    outcome = train("-m", *arguments, "seed=0,1", f"hydra.sweep.dir={name}")
    assert outcome.code == 143, outcome.err
    line = outcome.err[outcome.err.rindex("the sweep: ") :].removeprefix("the sweep: ").rstrip("\n")
    assert shell(line) == ["-m", *arguments, "seed=0,1", as_override("hydra.sweep.dir", name)]
    assert [each.name for each in Path().iterdir()] == [name]


def test_a_set_of_corrupted_images_is_made_where_it_is_said():
    outcome = corruptions("make", "dataset=digits", "limit_test=2", "names=[fog]", "severities=[1]", "out=a (1), ü=2")
    assert outcome.code == 0, outcome.err
    assert Path("a (1), ü=2", "fog.npy").exists()


def test_a_text_that_is_no_path_is_shown_in_quotes():
    line = refusal(train(*TINY, "departs_from_paper=a (1)"))
    assert line.endswith("; as text: 'departs_from_paper=\"a (1)\"'")
    (argument,) = shell(line.rpartition("as text: ")[2])
    assert argument == 'departs_from_paper="a (1)"'


def test_a_folder_that_hydra_would_read_as_an_interpolation_is_refused(four_epochs, workdir):
    copy_of(four_epochs, workdir / "a${b}")
    assert Run.open("a${b}").path == Path("a${b}")
    assert "a${b}" in refusal(train(*TINY, as_override("hydra.run.dir", "a${b}")))
