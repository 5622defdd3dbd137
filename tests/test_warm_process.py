"""A fork of a process that has the libraries is as a process of its own."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from commandline import finish, start, start_warm, wait_until
from p2be_exp.system.process_table import state_of
from warm_process import WarmProcess

ASKED = """
import atexit, json, os, signal, sys

atexit.register(print, "the end")
print(json.dumps({
    "name": __name__, "file": __file__, "argv": sys.argv, "cwd": os.getcwd(), "path": sys.path[0],
    "environment": {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")},
    "signals": {str(number): str(signal.getsignal(number)).partition(" at ")[0] for number in signal.valid_signals()},
    "streams": [[each.encoding, each.errors, each.line_buffering, each.isatty(), each.seekable(), each.fileno()]
                for each in (sys.stdout, sys.stderr)],
    "open": sorted(map(int, os.listdir("/proc/self/fd")))[:-1], "group": os.getpgid(0), "mask": os.umask(0o22),
    "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))), "original": sys.orig_argv,
    "package": [each for each in sys.modules if each.startswith("p2be_exp")],
}))
sys.exit("7 of 7")
"""
AGAIN = (
    """
import os, signal, subprocess, sys

if (parent := os.environ.pop("PARENT", None)) is None:
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    command = [sys.executable, *sys.orig_argv[1:]]
    environment = {**os.environ, "LOCAL_RANK": "1", "PARENT": str(os.getpid())}
    codes = [subprocess.call(command, env=environment, cwd="sub") for _ in range(2)]  # the spare child, a real one
    print(codes)
    sys.exit()
rank_zero = sys.modules.get("lightning_fabric.utilities.rank_zero")
print(os.getppid() == int(parent), rank_zero and rank_zero.rank_zero_only.rank)
"""
    + ASKED
)
WAITS = """
import os, pathlib, subprocess, sys, time
if "LOCAL_RANK" not in os.environ:
    subprocess.Popen([sys.executable, *sys.orig_argv[1:]], env={**os.environ, "LOCAL_RANK": "1"})
file = pathlib.Path("pid" + os.environ.get("LOCAL_RANK", "0"))
file.with_suffix(".part").write_text(str(os.getpid()))
file.with_suffix(".part").rename(file)
time.sleep(600)
"""
KILLED = f"""
import os, pathlib, signal, sys, time
sys.path[0] = {str(Path(__file__).parent)!r}
import warm_process

warm_process.LIBRARIES = ()
warm_process.WarmProcess("waits.py", cwd=".", env=dict(os.environ), process_group=0, spares=1)
while not all(map(os.path.exists, ("pid0", "pid1"))):
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "sub").mkdir()

    def write(text):
        (tmp_path / "sub" / "script.py").write_text(text)
        return tmp_path / "sub" / "script.py"

    return write


def test_it_is_as_a_process_of_its_own(script, tmp_path):
    file = script(ASKED)
    cold, warm = (finish(each(file, "a b", "c", cwd=tmp_path)) for each in (start, start_warm))
    assert warm.code == cold.code == 1
    assert warm.err == cold.err == "7 of 7\n"
    told, end = zip(*(outcome.out.splitlines() for outcome in (cold, warm)), strict=True)
    assert set(end) == {"the end"}
    expected, found = map(json.loads, told)
    assert expected["package"] == []
    assert found == expected


def test_the_code_of_a_script_and_its_traceback(script, tmp_path):
    assert finish(start_warm(script("raise SystemExit(3)"), cwd=tmp_path)).code == 3
    outcome = finish(start_warm(script("1 / 0"), cwd=tmp_path))
    assert outcome.code == 1
    assert outcome.err.endswith("ZeroDivisionError: division by zero\n")


def test_threads_are_waited_for_before_what_is_to_be_called_at_the_end(script, tmp_path):
    text = """
import atexit, sys, threading, time

atexit.register(print, "the end", file=sys.stderr)
threading.Thread(target=lambda: time.sleep(0.1) or print("a thread", file=sys.stderr)).start()
print("printed")
sys.exit(3)
"""
    outcome = finish(start_warm(script(text), cwd=tmp_path))
    assert (outcome.code, outcome.out, outcome.err) == (3, "printed\n", "a thread\nthe end\n")


def test_much_that_is_printed_on_both_streams(script, tmp_path):
    text = "import sys\nfor _ in range(5000):\n    print('x' * 99)\n    print('y' * 99, file=sys.stderr)"
    outcome = finish(start_warm(script(text), cwd=tmp_path))
    assert (outcome.out, outcome.err) == (("x" * 99 + "\n") * 5000, ("y" * 99 + "\n") * 5000)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_process_itself(script, tmp_path, number):
    file = script("import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(600)")
    process = start_warm(file, cwd=tmp_path)
    wait_until(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text() != "", process)
    assert int((tmp_path / "pid").read_text()) == process.pid
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(number)
    outcome = finish(process)
    assert outcome.code == -number
    assert ("KeyboardInterrupt" in outcome.err) == (number == signal.SIGINT)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_spare_child_is_as_one_that_is_started(script, tmp_path):
    outcome = finish(start_warm(script(AGAIN), "a b", cwd=tmp_path, spares=1))
    assert (outcome.code, outcome.err) == (0, "7 of 7\n" * 2)
    spare, told, end, real, expected, end_, codes = outcome.out.splitlines()
    assert (spare, real) == ("True 1", "True None")  # only one has the libraries, and the rank is that of its variables
    assert json.loads(told) == json.loads(expected)
    assert (end, end_, codes) == ("the end", "the end", "[1, 1]")


def test_its_name_its_group_and_its_output_are_those_asked_for(script, tmp_path):
    file = script(
        "import os, sys\nprint(open('/proc/self/comm').read(), os.getpgid(0), os.getpid())\nprint('x', file=sys.stderr)"
    )
    with (tmp_path / "out").open("ab") as out, (tmp_path / "err").open("ab") as err:
        streams = {"stdout": out.fileno(), "stderr": err.fileno()}
        environment = dict(os.environ)
        process = WarmProcess(file, cwd=tmp_path, env=environment, **streams, process_group=0, name="a-name", spares=1)
    assert process.wait(600) == 0
    assert (tmp_path / "out").read_text().split() == ["a-name", str(process.pid), str(process.pid)]
    assert (tmp_path / "err").read_text() == "x\n"
    assert process.stdout is process.stderr is None


def test_they_end_with_the_process_that_started_them_even_if_that_is_killed(tmp_path):
    (tmp_path / "waits.py").write_text(WAITS)
    (tmp_path / "killed.py").write_text(KILLED)
    outcome = finish(start(tmp_path / "killed.py", cwd=tmp_path))
    assert (outcome.code, outcome.err) == (-signal.SIGKILL, "")
    for rank in range(2):
        pid = int((tmp_path / f"pid{rank}").read_text())
        wait_until(lambda pid=pid: state_of(pid) == "gone")
