"""Two processes of which one fails, is stopped, killed or held: how the command ends, what it says, what is left.

Every command here ends within a bounded time with no process left; :func:`processes.started` sees to that.
"""

import os
import shlex
import signal
import time
from pathlib import Path

import pytest

from commandline import TINY, copy_of, evaluate, evaluate_clean, rows_of, train, trained, untimed
from p2be_exp.runs.run import Run
from processes import Command, started, taken_port
from small_disk import mounting, mounting_in_ranks, skip_unless_mounted

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("workdir")]

TRAIN = (*TINY, "epochs=1", "hydra.run.dir=run")
EVALUATE = ("run=run", "name=x", "limit_test=4", "corruption=none", "attack=lspga")
ATTACK = "attack-lspga-8"
"""The last condition; its four images are two batches of one image for each of two processes."""
PAIRS = "eval_batch_size=2"
NEVER = "wait('never')"
GO_ON = "stopped; to continue: "
TRACEBACK = "Traceback (most recent call last)"


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory):
    """A finished run by one process, with the rows of an evaluation in ``evaluations/whole``; not to be changed."""
    run = trained(tmp_path_factory.mktemp("one_epoch") / "run", "epochs=1")
    whole = evaluate(f"run={run}", *EVALUATE[2:], "name=whole", "trainer=cpu", "eval_batch_size=1")
    assert whole.code == 0, whole.err
    return run


@pytest.fixture
def run(workdir, one_epoch):
    """The run in the working directory, to be evaluated."""
    return copy_of(one_epoch, workdir / "run")


def status() -> dict:
    return Run("run").status()


def state() -> tuple:
    return status()["state"], status()["exit_code"]


def told_to_go_on(outcome) -> list[str]:
    """The arguments of the command that goes on, which is told once."""
    assert outcome.err.count(GO_ON) == 1, outcome.err
    return shlex.split(outcome.err.splitlines()[-1].removeprefix(GO_ON))[2:]


# -- a stop signal in an evaluation ------------------------------------------------------------------------------------


def test_sigterm_in_an_evaluation_stops_both_and_the_rows_stay_those_of_an_undisturbed_one(run, workdir):
    faults = {f"0 gather {ATTACK}": "", f"1 test {ATTACK} 1": NEVER}
    ours, whole = (run / "evaluations" / name for name in ("x", "whole"))
    for ranks in ([1], [0, 1]):  # one of them, then both while rank 0 waits in an exchange
        with started(workdir, "evaluate", *EVALUATE, PAIRS, faults=faults) as command:
            command.until_told(*faults)
            for rank in ranks:
                command.signal(rank, signal.SIGTERM)
            outcome = command.ended()
        assert outcome.code == 143, command.told()
        arguments = told_to_go_on(outcome)
        assert TRACEBACK not in outcome.err
        assert untimed(ours / "results.csv") == untimed(whole / "results.csv")[:-1]
    arguments = [each for each in arguments if not each.startswith(("trainer", PAIRS))]
    assert evaluate(*arguments, "trainer=cpu", "eval_batch_size=1").code == 0
    assert untimed(ours / "results.csv") == untimed(whole / "results.csv")
    assert {file.name for file in ours.iterdir()} == {file.name for file in whole.iterdir()}


# -- a stopped rank ----------------------------------------------------------------------------------------------------


STOP_ITSELF = "os.kill(os.getpid(), signal.SIGSTOP)"


def until_said_to_be_stopped(command: Command) -> None:
    command.until_said(f"rank 1 (process {command.pid(1)}) is stopped; waiting for it\n")


def test_a_rank_that_is_stopped_is_said_and_waited_for(workdir):
    """With sigterm in the evaluation that ends the training, and a port that is taken in the environment."""
    often = "from p2be_exp.training.callbacks import sign_of_life; sign_of_life.INTERVAL = 0.02"
    faults = {"1 step 0 1": STOP_ITSELF, "0 gather clean": "", "1 test clean 0": NEVER}
    with (
        taken_port() as port,
        started(
            workdir, "train", *TRAIN, faults=faults, first=often, environment={"MASTER_PORT": str(port)}
        ) as command,
    ):
        until_said_to_be_stopped(command)
        command.until(_is_silent, "a sign of life that pauses")
        command.signal(1, signal.SIGCONT)
        command.until_told("0 gather clean", "1 test clean 0")
        command.signal(1, signal.SIGTERM)
        outcome = command.ended()
    assert outcome.err.count("is stopped") == 1
    assert outcome.code == 143, command.told()
    assert (status()["state"], status()["signal"]) == ("interrupted", signal.SIGTERM)
    (resume,) = told_to_go_on(outcome)
    resumed = train(resume, "trainer=cpu")
    assert resumed.code == 0, resumed.err
    assert state() == ("finished", 0)
    assert evaluate_clean("run=run", "name=again", "trainer=cpu", "limit_test=40").code == 0
    assert untimed(Path("run/results.csv")) == untimed(Path("run/evaluations/again/results.csv"))


def _is_silent() -> bool:
    """No sign of life in the time of 25, or of many less on a busy machine."""
    before = Path("run/status.json").stat().st_mtime_ns
    time.sleep(0.5)
    return Path("run/status.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(("number", "waits"), [(signal.SIGINT, "for one that is stopped"), (signal.SIGTERM, "alone")])
def test_a_second_signal_ends_a_wait(workdir, number, waits):
    faults = {"1 step 0 1": NEVER, "0 step 0 1": "blocked()"}
    if waits == "for one that is stopped":
        faults = {"1 step 0 1": STOP_ITSELF, "0 step 0 1": ""}
    with started(workdir, "train", *TRAIN, faults=faults) as command:
        command.until_told(*faults)
        if waits == "for one that is stopped":
            until_said_to_be_stopped(command)
        command.signal(0, number)
        command.until_said("once more: stop at once")
        command.signal(0, number)
        outcome = command.ended()
    assert outcome.code == 128 + number, command.told()
    assert (status()["state"], status()["signal"]) == ("interrupted", number)
    assert told_to_go_on(outcome) == ["resume=run"]
    assert TRACEBACK not in outcome.err


# -- a rank that fails -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "waiting", ["import time; time.sleep(1000)", "blocked()"], ids=["in a sleep", "in an exchange"]
)
@pytest.mark.parametrize("fault", ["raise RuntimeError('boom')", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_rank_that_fails_while_the_other_waits_elsewhere(workdir, fault, waiting):
    faults = {"0 step 0 1": waiting, "1 step 0 1": f"wait('0 step 0 1'); {fault}"}
    with started(workdir, "train", *TRAIN, faults=faults) as command:
        outcome = command.ended()
    assert outcome.code == 1, command.told()
    *before, last = outcome.err.splitlines()
    if "boom" in fault:
        assert last == "error: rank 1: RuntimeError: boom", command.told()
        assert outcome.err.count(TRACEBACK) == 1
        assert outcome.err.count("boom") == 2  # in it, too: the line of the fault is not shown
    else:
        assert before == [], command.told()
        assert last == "error: rank 1: ended by SIGKILL; is there enough memory?"
    assert state() == ("failed", 1)
    assert status()["error"] == last.removeprefix("error: ")


@pytest.mark.parametrize(
    ("place", "error", "code"), [("step 0 1", "BadInput", 2), ("setup", "ResourceError", 1)], ids=["input", "resource"]
)
def test_what_a_rank_says_in_one_line_is_said_in_one_line(workdir, place, error, code):
    with started(workdir, "train", *TRAIN, faults={f"1 {place}": f"raise {error}('no more of it')"}) as command:
        outcome = command.ended()
    assert (outcome.code, outcome.err) == (code, "error: rank 1: no more of it\n"), command.told()
    assert state() == ("failed", code)
    assert status()["error"] == "rank 1: no more of it"


@pytest.mark.parametrize(("error", "code"), [("BadInput", 2), ("KeyError", 1)])
def test_a_rank_that_fails_in_an_evaluation(run, workdir, error, code):
    with started(
        workdir, "evaluate", *EVALUATE, PAIRS, faults={f"1 test {ATTACK} 1": f"raise {error}('it')"}
    ) as command:
        outcome = command.ended()
    *before, last = outcome.err.splitlines()
    assert outcome.code == code, command.told()
    if error == "BadInput":
        assert outcome.err == "error: rank 1: it\n", command.told()
    else:
        assert last == "error: rank 1: KeyError: 'it'", command.told()
        assert sum(TRACEBACK in line for line in before) == 1


@pytest.mark.parametrize(("error", "code"), [("BadInput", 2), ("RuntimeError", 1)])
def test_what_rank_0_fails_of_is_told_as_with_one_process(workdir, error, code):
    with started(workdir, "train", *TRAIN, faults={"0 step 0 1": f"raise {error}('boom')"}) as command:
        outcome = command.ended()
    assert outcome.code == code, command.told()
    assert "rank 1" not in outcome.err, command.told()
    assert "rank 0" not in outcome.err, command.told()
    if error == "BadInput":
        assert outcome.err == "error: boom\n"
    else:
        assert outcome.err.count(TRACEBACK) == 1
        assert outcome.err.endswith("RuntimeError: boom\n")
    assert state() == ("failed", code)
    assert status()["error"] == ("boom" if error == "BadInput" else "RuntimeError: boom")


def test_a_child_ends_with_its_parent(run, workdir):
    faults = {f"0 gather {ATTACK}": "", f"1 test {ATTACK} 0": "busy()"}
    with started(workdir, "evaluate", *EVALUATE, "eval_batch_size=10", faults=faults) as command:
        command.until_told(*faults)
        command.signal(0, signal.SIGKILL)
        outcome = command.ended()  # both, long before the 300 s for which rank 1 computes
    assert outcome.code == -signal.SIGKILL, command.told()


def test_a_child_that_begins_when_its_parent_is_gone_ends(workdir):
    late = "if os.environ.get('LOCAL_RANK') == '1': tell('begins'); wait('go')"
    with started(workdir, "train", *TRAIN, first=late, faults={"0 setup": ""}) as command:
        command.until_told("0 setup", "begins")
        command.signal(0, signal.SIGKILL)
        command.until(lambda: command.first[0].poll() is not None, "the end of rank 0", dead=True)
        command.let("go")
        command.ended()
    assert Run("run").status()["state"] == "running"


# -- processes that were started from outside --------------------------------------------------------------------------


def test_a_rank_that_never_comes_is_not_waited_for_longer_than_asked(workdir):
    with started(workdir, "train", *TRAIN, "trainer.timeout=1", launcher="by hand", ranks=(0,)) as command:
        outcome = command.ended()
    assert outcome.code == 1, command.told()
    assert outcome.err == "error: trainer.timeout=1: rank 1 did not join\n"
    assert state() == ("failed", 1)


def test_one_signal_ends_the_wait_for_a_rank_that_never_comes(workdir):
    soon = "from p2be_exp.system import rendezvous; rendezvous.SAID_AFTER = 0.1"
    with started(
        workdir, "train", *TRAIN, first=soon, faults={"0 setup": ""}, launcher="by hand", ranks=(0,)
    ) as command:
        command.until_said("waiting for rank 1")
        command.signal(0, signal.SIGINT)
        outcome = command.ended()
    assert outcome.code == 130, command.told()
    assert state() == ("interrupted", 130)
    assert told_to_go_on(outcome) == ["resume=run"]


@pytest.mark.parametrize("port", ["taken", "abc"])
def test_own_processes_find_a_port_themselves(workdir, port):
    with (
        taken_port() as taken,
        started(
            workdir, "train", *TRAIN, environment={"MASTER_PORT": str(taken) if port == "taken" else port}
        ) as command,
    ):
        outcome = command.ended()
    assert (outcome.code, outcome.err) == (0, ""), command.told()
    assert state() == ("finished", 0)


def test_a_port_that_is_taken_is_one_line(workdir):
    with (
        taken_port() as port,
        started(workdir, "train", *TRAIN, launcher="by hand", environment={"MASTER_PORT": str(port)}) as command,
    ):
        outcome = command.ended()
    assert outcome.code == 1, command.told()
    assert outcome.err.startswith(f"error: MASTER_PORT={port}: the port is taken by another program")
    assert outcome.err.count("\n") == 1
    assert state() == ("failed", 1)
    assert command.first[1].poll() not in (0, None)
    assert command.said("err", 1) == ""


@pytest.mark.parametrize("error", ["BadInput", "RuntimeError"])
def test_a_rank_that_was_started_from_outside_leaves_its_reason_too(workdir, error):
    faults = {"1 step 0 1": f"wait('0 step 0 1'); raise {error}('boom')", "0 step 0 1": NEVER}
    with started(workdir, "train", *TRAIN, launcher="by hand", faults=faults) as command:
        outcome = command.ended()
    code, line = (2, "rank 1: boom") if error == "BadInput" else (1, "rank 1: RuntimeError: boom")
    assert (outcome.code, outcome.err) == (code, f"error: {line}\n"), command.told()
    assert command.first[1].poll() == code
    assert command.said("err", 1).count(TRACEBACK) == (error == "RuntimeError")
    assert (state(), status()["error"]) == (("failed", code), line)
    assert not Path("run/.ranks").exists()


# -- a full disk -------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_the_run_can_be_gone_on_with(workdir, one_epoch):
    checkpoint = (one_epoch / "checkpoints" / "last.ckpt").stat().st_size // 1024
    mount = f'mkdir disk && mount -t tmpfs -o "size={int(1.5 * checkpoint) + 100}k" tmpfs disk'
    keep = "cp -r disk/run run"
    if os.geteuid() == 0:
        mounted = {"first": mounting_in_ranks(mount, keep)}
    else:
        mounted = {"within": mounting(mount, f'"$@"; code=$?; {keep}; exit $code')}
    with started(workdir, "train", *TINY, "epochs=2", "hydra.run.dir=disk/run", **mounted) as command:
        outcome = command.ended()
    skip_unless_mounted(outcome)
    assert outcome.code == 1, command.told()
    assert outcome.err.count("\n") == 1, command.told()
    assert "disk/run/checkpoints/last.ckpt: cannot be written: no space left on device" in outcome.err
    assert state() == ("failed", 1)
    assert outcome.err == f"error: {status()['error']}\n"
    assert train("resume=run", "trainer=cpu").code == 0
    assert len(rows_of(Path("run/metrics.csv"))) == 2
