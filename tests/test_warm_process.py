"""A fork of a process that has the libraries is as a process of its own."""

import json
import os
import signal
import subprocess

import pytest

from commandline import finish, start, start_warm, wait_until

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
    "package": [each for each in sys.modules if each.startswith("p2be_exp")],
}))
sys.exit("7 of 7")
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
