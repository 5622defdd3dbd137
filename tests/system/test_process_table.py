"""What is seen of another process, whatever its name."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import wait_until
from p2be_exp.system.process_table import number_space, state_of


@pytest.fixture
def sleeper(tmp_path):
    """A process whose name looks like the end of its own entry."""
    named = tmp_path / "a) T (b"
    named.symlink_to(shutil.which("sleep"))
    with subprocess.Popen([str(named), "600"]) as process:
        yield process
        process.kill()


def test_this_process_is_alive():
    assert state_of(os.getpid()) == "alive"


def test_a_process_is_stopped_until_it_is_let_go_on(sleeper):
    assert state_of(sleeper.pid) == "alive"
    sleeper.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(sleeper.pid) == "stopped", sleeper)
    sleeper.send_signal(signal.SIGCONT)
    wait_until(lambda: state_of(sleeper.pid) == "alive", sleeper)


def test_one_that_has_ended_is_gone_before_and_after_its_parent_has_looked(sleeper):
    sleeper.kill()
    wait_until(lambda: state_of(sleeper.pid) == "gone")  # not asked how it ended: it is a zombie until then
    sleeper.wait()
    assert state_of(sleeper.pid) == "gone"


SPACE = "from p2be_exp.system.process_table import number_space; print(number_space())"


def test_processes_of_a_machine_share_their_numbers_and_those_of_a_container_have_their_own():
    if not Path("/proc/self/ns/pid").exists():
        pytest.skip("no Linux")
    command = [sys.executable, "-c", SPACE]
    assert subprocess.check_output(command, text=True).strip() == number_space() != ""
    contained = subprocess.run(["unshare", "--fork", "--pid", "--mount-proc", *command], capture_output=True, text=True)
    if contained.returncode:
        pytest.skip("no right to make a container")
    assert contained.stdout.strip() != number_space()
