"""Terminals and pipes that are not UTF-8: what they lack is replaced, and nothing ends."""

import io
import os
import sys

import pytest

from commandline import TINY, copy_of
from p2be_exp.commands import report, train

pytestmark = pytest.mark.usefixtures("workdir")


def printed(monkeypatch, main, encoding, *arguments) -> tuple[int, str, str]:
    """A command in this process: its exit code, and what it printed in an encoding."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        for name, stream in streams.items():
            patched.setattr(sys, name, stream)
        code = main()
    out, err = (stream.buffer.getvalue().decode(encoding, "surrogateescape") for stream in streams.values())
    return code, out, err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_a_report(workdir, four_epochs, monkeypatch, encoding):
    code, out, err = printed(monkeypatch, report.main, encoding, four_epochs, "out=report")
    assert (code, err) == (0, "")
    assert ("— missing" if encoding in ("cp1252", "utf-8") else "- missing") in out
    assert out.rstrip().endswith("report in report: index.html, report.md, tables/, figures/")


@pytest.mark.parametrize("name", ["läuft", "λ", os.fsdecode(b"l\xe4uft")])
def test_a_run_folder_that_cannot_be_spelt(workdir, four_epochs, with_validation, monkeypatch, name):
    copy_of(four_epochs, workdir / name)
    code, out, err = printed(monkeypatch, report.main, "ascii", "compare", name, with_validation)
    assert code == 0, err
    assert "one run, seed 0" in out
    code, _, err = printed(monkeypatch, train.main, "ascii", *TINY, f"hydra.run.dir='{name}'")
    assert code == 2
    assert "already holds a run" in err
