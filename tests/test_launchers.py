"""The commands of docs/distributed.md by two processes on a CPU; the one for Slurm is in test_slurm.py."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from commandline import ROOT, TINY, untimed
from launcher_pages import commands, in_small
from p2be_exp.runs.run import Run
from processes import Command, free_port, marked_environment
from warm_process import WarmProcess

pytestmark = pytest.mark.slow

FAIL_ONCE = '''
"""Ends rank 1 in the second epoch, as the kernel does where memory is short; once."""

import os
import signal
from pathlib import Path

from p2be_exp.training.module import TrainingModule

step = TrainingModule.training_step


def training_step(self, batch, batch_idx):
    if (self.global_rank, self.current_epoch, batch_idx) == (1, 1, 2) and not Path("failed").exists():
        Path("failed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)


TrainingModule.training_step = training_step
'''


@contextlib.contextmanager
def launched(folder: Path, *each: list[str], spares: int = 0, **variables: str) -> Iterator[Command]:
    """Type commands in a folder beside one another; at the end of the block nothing of them is left.

    Args:
        folder: where they are typed.
        each: the words of a command.
        spares: so many of the processes that each command starts have imported PyTorch beforehand, as what is typed
            has; the others are as on a terminal.
        variables: further ones.
    """
    marks, mark = folder / "marks", f"t-{uuid.uuid4().hex[:12]}"
    marks.mkdir()
    environment = {**marked_environment(mark), **variables}
    torchrun = marks / "torchrun.py"
    torchrun.write_text("from torch.distributed.run import main\n\nmain()\n")
    typed = []
    for number, (program, *words) in enumerate(each):
        words = [str(ROOT / word) if word == "train.py" else word for word in words]
        script, *words = [str(torchrun), *words] if program == "torchrun" else words
        with (marks / f"out {number}").open("ab") as out, (marks / f"err {number}").open("ab") as err:
            place = {"cwd": folder, "env": environment, "stdout": out.fileno(), "stderr": err.fileno()}
            typed.append(WarmProcess(Path(script), *words, **place, process_group=0, name=mark, spares=spares))
    running = Command(folder, mark, typed)
    try:
        yield running
        running.ended()
    finally:
        running.kill()


def assert_trained(folder: Path, training: Command) -> None:
    """The commands that were typed have trained one run by two processes."""
    training.ended()
    assert [process.returncode for process in training.first] == [0] * len(training.first), training.told()
    said = [training.said("out", number) for number in range(len(training.first))]
    assert sum(text.count("results in run") for text in said) == 1, training.told()
    run = Run(folder / "run")
    assert run.status()["state"] == "finished"
    assert run.info()["trained_on"]["processes"] == 2


@pytest.fixture(scope="module")
def one_machine(tmp_path_factory):
    """The folder in which the page's first command has trained, beside variables that somebody left."""
    folder = tmp_path_factory.mktemp("one_machine")
    left = {"RANK": "1", "LOCAL_RANK": "1", "NODE_RANK": "1", "MASTER_PORT": "abc", "MASTER_ADDR": "nowhere.invalid"}
    with launched(folder, in_small(commands()["python"], "run"), spares=1, **left) as training:
        assert_trained(folder, training)
    return folder


def test_every_launcher_of_the_page_is_run():
    assert set(commands()) == {"python", "torchrun", "torchrun, several machines", "sbatch"}


def test_the_first_process_starts_the_others(one_machine):
    assert {each.name for each in one_machine.iterdir()} == {"run", "marks"}


def test_torchrun_starts_the_processes_again_and_they_go_on(one_machine, tmp_path):
    (tmp_path / "fail_once.py").write_text(FAIL_ONCE)
    words = in_small(commands()["torchrun"], "run")
    with launched(tmp_path, [*words, "plugins=[fail_once]"], spares=4, P2BE_PLUGINS="fail_once") as training:
        assert_trained(tmp_path, training)
    assert (tmp_path / "failed").exists()
    assert Run(tmp_path / "run").status()["torchrun_restarts"] == 1
    for file in ("metrics.csv", "results.csv"):
        assert untimed(tmp_path / "run" / file) == untimed(one_machine / "run" / file)


def test_torchrun_on_two_machines(one_machine, tmp_path):
    words = in_small(commands()["torchrun, several machines"], "run", processes=1, port=free_port())
    words.insert(1, "--local-addr=127.0.0.1")  # both of them are this one
    with launched(tmp_path, words, words, spares=1) as training:
        assert_trained(tmp_path, training)
    for file in ("metrics.csv", "results.csv"):
        assert untimed(tmp_path / "run" / file) == untimed(one_machine / "run" / file)


def test_torchrun_where_trainer_ddp_was_forgotten(tmp_path):
    words = ["torchrun", "--nproc-per-node=2", "train.py", *TINY, "trainer=cpu", "hydra.run.dir=run"]
    with launched(tmp_path, words) as training:
        outcome = training.ended()
    told = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    why = "trainer.devices=1 trainer.num_nodes=1: 1 process, but torchrun started 2; for 2: trainer=ddp "
    assert told[0].startswith(f"error: {why}"), training.told()
    assert [line.partition(why)[0] for line in told[1:]] in ([], ["error: rank 1: "])  # of a slow first process
    assert not (tmp_path / "run").exists()
