"""Children are the same command once more, are waited for, and are gone at the end."""

import os
import subprocess
import sys

import pytest

from commandline import HANGS, wait_until
from p2be_exp.system.launch import Children
from p2be_exp.system.peers import Ending, Peers
from p2be_exp.system.process_table import state_of

COMMAND = """
import os, sys
from p2be_exp.system.launch import children
rank = os.environ.get("LOCAL_RANK", "0")
with open(f"rank{rank}", "w") as file:
    print(sys.argv, sys.flags.dont_write_bytecode, os.environ["OWN"], file=file)
if rank == "0":
    os.environ["OWN"] = "told"
    children.start(3)
    children.wait()
"""


def test_the_command_is_started_again_with_its_arguments_and_flags_for_each_further_rank(tmp_path):
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    environment = {**os.environ, "OWN": "mine"}
    environment.pop("LOCAL_RANK", None)
    command = [sys.executable, "-B", str(script), "key=[a b]", ""]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=HANGS)
    told = [(tmp_path / f"rank{rank}").read_text() for rank in range(3)]
    assert told[0] == f"{command[2:]} 1 mine\n"
    assert told[1] == told[2] == f"{command[2:]} 1 told\n"
    assert {file.name for file in tmp_path.iterdir()} == {"command.py", "rank0", "rank1", "rank2"}


@pytest.fixture
def peers(tmp_path):
    return [Peers(tmp_path / "peers", rank, 2, "0", makes_folder=True) for rank in range(2)]


@pytest.fixture
def start(monkeypatch):
    """Starts children that run a line of Python."""
    children = Children()

    def start(line: str) -> Children:
        monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-S", "-E", "-c", f"import os, time; {line}"])
        children.start(2)
        return children

    yield start
    children.kill()


def ended(children: Children, peers: Peers) -> Ending:
    wait_until(lambda: children.failed(peers) is not None)
    return children.failed(peers)


@pytest.mark.parametrize(
    ("line", "how"),
    [
        ("os._exit(3)", "ended with exit code 3"),
        ("os._exit(0)", "ended with exit code 0"),
        ("os.kill(os.getpid(), 9)", "ended by SIGKILL; is there enough memory?"),
        ("os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
        ("os.kill(os.getpid(), 40)", "ended by signal 40"),
    ],
)
def test_a_child_that_ends_without_a_word_has_failed(start, peers, line, how):
    peers[0].register()
    assert ended(start(line), peers[0]) == Ending(1, 1, how)


def test_the_word_of_a_child_is_the_reason(start, peers):
    peers[0].register()
    peers[1].leave(Ending(1, 2, "seed=x: a number"))
    assert ended(start("os._exit(2)"), peers[0]) == Ending(1, 2, "seed=x: a number")


def test_a_child_that_has_done_its_part_has_not_failed(start, peers):
    peers[0].register()
    children = start("os._exit(0)")
    ended(children, peers[0])
    peers[1].finish()
    assert children.failed(peers[0]) is None


def test_it_may_be_looked_for_one_that_failed_while_the_next_is_started(start, peers, monkeypatch):
    peers[0].register()
    children = start("os._exit(0)")
    wait_until(lambda: children.failed(peers[0]) is not None)

    def is_done(rank):
        children._by_rank[rank + 1] = children._by_rank[rank]
        return True

    monkeypatch.setattr(peers[0], "is_done", is_done)
    assert children.failed(peers[0]) is None


def test_a_child_that_works_has_not_failed_and_is_killed_where_it_does_not_end_in_time(start, peers, tmp_path):
    peers[0].register()
    children = start(f"open({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}} '); time.sleep(600)")
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith(" "))
    assert children.failed(peers[0]) is None
    pid = int((tmp_path / "pid").read_text())
    assert state_of(pid) == "alive"
    children.wait(0.0)
    assert state_of(pid) == "gone"
    assert children.failed(peers[0]) is None
