"""The tests that are marked ``gpu``, each a row as soon as it has ended."""

from __future__ import annotations

import importlib.util
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.gpu.dependencies import ROOT
from benchmarks.gpu.part import Task

MARK = "pytest.mark.gpu"


def run(task: Task, tests: Path = ROOT / "tests") -> None:
    """Run them in this process, one after another, whatever pytest's configured options are."""
    if importlib.util.find_spec("pytest") is None:
        task.note("tests", "pytest is not installed: the tests were passed over")
        return
    import pytest

    # Not the whole folder: the other files may need packages that this machine lacks.
    files = [str(file) for file in sorted(tests.rglob("test_*.py")) if MARK in file.read_text(encoding="utf-8")]
    rows = _Rows(task)
    # Without addopts: they are pytest-xdist's, which may be missing.
    options = ["-m", "gpu", "-o", "addopts=", "-p", "no:cacheprovider", "-q", "-rs"]
    code = pytest.main([*options, *files], plugins=[rows]) if files else 5
    if code not in (0, 1):  # 1: tests failed, which their rows say
        task.note("tests", f"pytest ended with {int(code)}")
    rows.summary()


class _Rows:
    """A plug-in of pytest: a row a test, and one of them all."""

    def __init__(self, task: Task) -> None:
        self._task, self._start = task, time.monotonic()
        self._counts: Counter[str] = Counter()

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._row(report.nodeid, "failed", 0.0, str(report.longrepr))

    def pytest_runtest_logreport(self, report: Any) -> None:
        skipped = report.skipped and report.when == "setup"
        if report.when == "call" or report.failed or skipped:
            reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else str(report.longrepr or "")
            self._row(report.nodeid, report.outcome, report.duration, reason)

    def _row(self, name: str, outcome: str, seconds: float, reason: str) -> None:
        self._counts[outcome] += 1
        short = name.removeprefix("tests/")
        self._task.emit("Tests", id=short, test=short, outcome=outcome, seconds=round(seconds, 2), why=reason[-600:])

    def summary(self) -> None:
        told = ", ".join(f"{self._counts[each]} {each}" for each in ("passed", "failed", "skipped"))
        seconds = round(time.monotonic() - self._start, 2)
        self._task.emit("Tests", id="all", test="all", outcome=told, seconds=seconds, why="")
