"""A process with a limit, and the parts in theirs."""

import doctest
import errno
import json
import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu import time_shares, training_rows
from benchmarks.gpu.command import Session
from benchmarks.gpu.out import Out
from benchmarks.gpu.processes import run_limited
from benchmarks.gpu.settings import parse_settings
from benchmarks.gpu.time_shares import RESERVE, limit_of

ROOT = Path(__file__).parents[2]

HANG = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
                          "print('deaf', flush=True); time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
"""Does not end, nor does what it has started; both are deaf to SIGTERM."""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def limited(code: str, on_line=None, out_of_time_after: int | None = None, grace: float = 0.3):
    """Run code whose time is over once it has printed so many lines, however long that takes."""
    lines = []
    clock = (lambda: 0.0) if out_of_time_after is None else (lambda: 1e9 if len(lines) >= out_of_time_after else 0.0)
    on_line = on_line or lines.append
    return run_limited(python(code), 60.0, on_line, cwd=".", env=os.environ, grace=grace, clock=clock), lines


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    return state != "Z"


def gone(pid: int) -> bool:
    """Whether a process is gone, or goes within ten seconds."""
    until = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_alive(pid)


def test_both_streams_and_the_code_come_back():
    ended, lines = limited("import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)")
    assert (ended.code, ended.out_of_time) == (3, False)
    assert sorted(lines) == ["err", "out"]


def test_a_line_is_handed_on_before_the_process_ends(tmp_path):
    """The process waits for a file that is made when its line has come."""
    seen = tmp_path / "seen"
    code = f"print('a line', flush=True)\nimport os, time\nwhile not os.path.exists({str(seen)!r}): time.sleep(0.02)"
    ended, _ = limited(code, on_line=lambda line: seen.touch())
    assert (ended.code, ended.out_of_time) == (0, False)


def test_what_hangs_is_killed_with_what_it_started():
    ended, lines = limited(HANG, out_of_time_after=2)
    assert ended.out_of_time
    assert ended.code == -9
    assert gone(int(next(line for line in lines if line.isdigit())))


def test_what_saves_itself_on_sigterm_may():
    code = "import signal, sys, time\nsignal.signal(15, lambda *_: (print('saved', flush=True), sys.exit(0)))\n"
    ended, lines = limited(code + "print('up', flush=True); time.sleep(600)", out_of_time_after=1, grace=60.0)
    assert ended.out_of_time
    assert lines == ["up", "saved"]


def test_what_a_process_leaves_behind_dies_with_it():
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    ended, lines = limited(code + "stdout=subprocess.DEVNULL).pid)")
    assert ended.code == 0
    assert gone(int(lines[0]))


def test_an_interrupt_takes_the_process_along():
    pids = []

    def interrupted(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        limited("import os, time; print(os.getpid(), flush=True); time.sleep(600)", on_line=interrupted)
    assert gone(pids[0])


# -- the parts ---------------------------------------------------------------------------------------------------------

ROW = 'print(\'{"table": "Tests", "id": "NAME", "test": "NAME"}\', flush=True)'


def session(tmp_path, codes: dict[str, str], out_of_time_after: str | None = None) -> list[dict]:
    """Run parts that are given as Python code, until the log has a line, if one is given; the rows."""
    settings = parse_settings([f"out={tmp_path / 'out'}", f"parts={','.join(codes)}"])
    out, log = Out(tmp_path / "out"), tmp_path / "out" / "log.txt"

    def clock() -> float:
        return 1e9 if out_of_time_after and log.exists() and out_of_time_after in log.read_text() else 0.0

    Session(settings, out, 0.0, lambda part, *_: python(codes[part]), 0.3, clock).run_parts()
    return Out(tmp_path / "out").rows


def states(rows: list[dict]) -> dict[str, str]:
    return {row["id"]: row["state"] for row in rows if row["table"] == "Parts"}


def test_a_part_that_fails_is_noted_and_passed_over(tmp_path, capsys):
    broken = ROW.replace("NAME", "before") + "\nraise RuntimeError('no more memory')"
    rows = session(tmp_path, {"tests": broken, "step": ROW.replace("NAME", "after")})
    assert states(rows) == {"tests": "failed (exit code 1; see log.txt)", "step": "done"}
    assert [row["id"] for row in rows if row["table"] == "Tests"] == ["before", "after"]
    assert "no more memory" in (tmp_path / "out" / "log.txt").read_text()
    assert "test=before" in capsys.readouterr().out


def test_a_part_that_hangs_is_killed_and_noted(tmp_path):
    rows = session(tmp_path, {"tests": ROW.replace("NAME", "before") + HANG}, out_of_time_after="deaf")
    assert states(rows) == {"tests": "ended at its limit"}
    assert [row["id"] for row in rows if row["table"] == "Tests"] == ["before"]


def test_what_a_part_prints_beside_its_rows_is_the_logs(tmp_path):
    rows = session(tmp_path, {"tests": "print('3 passed'); print('{not a row')"})
    assert states(rows) == {"tests": "done"}
    assert (tmp_path / "out" / "log.txt").read_text() == "[tests] 3 passed\n[tests] {not a row\n"


def test_on_a_full_disk_rows_are_printed_at_least(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Out, "add", full)
    session(tmp_path, {"tests": ROW.replace("NAME", "a")})
    said = capsys.readouterr().out
    assert "test=a" in said
    assert "No space left on device" in said


def test_a_part_that_is_told_to_end_does(tmp_path):
    """By SIGTERM, also in the middle of a test that catches what it can."""
    (tmp_path / "test_long.py").write_text(
        "import pytest, time\n@pytest.mark.gpu\ndef test_long():\n    print('in it', flush=True)\n    time.sleep(600)\n"
        "@pytest.mark.gpu\ndef test_next(): pass\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu: needs one\n")
    code = (
        "import sys; from pathlib import Path; from benchmarks.gpu import part, part_tests\n"
        f"run = part_tests.run; part_tests.run = lambda task: run(task, Path({str(tmp_path)!r}))\n"
        "from benchmarks.gpu.settings import parse_settings; import json\n"
        "told = json.dumps(parse_settings(['out=out']).as_dict()); sys.exit(part.main(['tests', told, '600']))"
    )
    lines = []
    clock = lambda: 1e9 if any("in it" in line for line in lines) else 0.0  # noqa: E731
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]), "PYTEST_ADDOPTS": "-s"}
    ended = run_limited(python(code), 60.0, lines.append, cwd=tmp_path, env=env, grace=60.0, clock=clock)
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    assert ended.out_of_time
    assert [row["what"] for row in rows if row["table"] == "Notes"] == ["tests"]
    assert not any("test_next" in row.get("test", "") for row in rows)


def test_a_row_keeps_its_own_cells(tmp_path):
    """Such as the part of a step that it is about."""
    row = {"table": "A training step by part", "id": "a", "part": "views", "ms": 1.0}
    rows = session(tmp_path, {"step": f"import json; print(json.dumps({row!r}))"})
    (found,) = (each for each in rows if each["table"] == row["table"])
    assert row.items() <= found.items()
    assert "| views | 1.0 |" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


def test_an_archive_is_copied_and_its_row_names_no_path(tmp_path):
    (tmp_path / "rgb.zip").write_bytes(b"rows")
    row = {"table": "Archives", "id": "rgb.zip", "archive": "rgb.zip", "file": str(tmp_path / "rgb.zip")}
    rows = session(tmp_path, {"train": f"import json; print(json.dumps({row!r}))"})
    assert (tmp_path / "out" / "rgb.zip").read_bytes() == b"rows"
    assert [set(row) for row in rows if row["table"] == "Archives"] == [{"table", "id", "archive", "process", "at"}]


def test_the_examples():
    assert doctest.testmod(time_shares).failed == 0
    assert doctest.testmod(training_rows).failed == 0


def test_the_time_is_shared_and_what_is_left_over_passes_on():
    parts = ["tests", "step", "train"]
    limits = [limit_of(part, parts[number:], 543.0) for number, part in enumerate(parts)]
    assert limits[0] < limits[1] < 543.0 / 2
    assert limits[2] == 543.0 - RESERVE
    assert limit_of("step", parts[1:], 500.0) < limit_of("step", parts[1:], 520.0)
    assert limit_of("train", ["train"], 1.0) == 0.0
