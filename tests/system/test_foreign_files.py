"""Files of a folder that somebody else may have made: what is no file, or never ends, is told and not waited for."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from commandline import HANGS, compare, copy_of, evaluate_clean, export, refusal, report, train
from p2be_exp.config.schema import DatasetConfig, TrainConfig
from p2be_exp.config.stored import read_stored
from p2be_exp.evaluation import saved_results
from p2be_exp.evaluation.results import check_results
from p2be_exp.evaluation.saved_results import read_lines
from p2be_exp.report.measured import find_measured
from p2be_exp.runs.run import Run
from p2be_exp.system import foreign_files
from p2be_exp.system.foreign_files import open_file, read_text
from p2be_exp.system.forms import read_json
from p2be_exp.system.saved_file import read_saved


def a_pipe(file):
    os.mkfifo(file)


def without_end(file):
    file.symlink_to("/dev/zero")


@pytest.mark.parametrize("read", [open_file, read_text, read_json, read_lines, read_stored, read_saved])
def test_a_device_is_no_file(tmp_path, read):
    """A link to it; what reads it would not come back."""
    without_end(tmp_path / "file")
    with pytest.raises(OSError, match=r"a pipe or a device, no file"):
        read(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        read(tmp_path / "folder")
    with pytest.raises(FileNotFoundError) as error:
        open_file(tmp_path / "nowhere")
    assert Path(error.value.filename).name == "nowhere"


def test_a_pipe_is_not_waited_for(tmp_path):
    a_pipe(tmp_path / "pipe")
    code = "import sys, pathlib; from p2be_exp.system.forms import read_json; read_json(pathlib.Path(sys.argv[1]))"
    call = [sys.executable, "-c", code, str(tmp_path / "pipe")]
    done = subprocess.run(call, capture_output=True, text=True, timeout=HANGS, check=False)
    assert done.stderr.splitlines()[-1].startswith("OSError: [Errno 22] a pipe or a device, no file")


def test_a_text_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_files, "MOST_BYTES", 10)
    (tmp_path / "file").write_text("1234567890")
    assert read_text(tmp_path / "file") == "1234567890"
    (tmp_path / "file").write_text("12345678901")
    with pytest.raises(OSError, match="larger than 10 bytes"):
        read_text(tmp_path / "file")


@pytest.mark.parametrize("damage", [a_pipe, without_end])
@pytest.mark.parametrize("name", ["status.json", "results.json", "results.csv", "per_image/clean.npz"])
def test_a_run_with_such_a_file(workdir, four_epochs, name, damage):
    run = copy_of(four_epochs, workdir / "run")
    (run / name).unlink()
    damage(run / name)
    why = f"{Path(name).name} cannot be read (a pipe or a device, no file)"
    if name.startswith("per_image"):
        (measured,) = find_measured("A", "run")
        with pytest.raises(ValueError, match=re.escape(why)):
            measured.images("clean")
    else:
        assert why in refusal(report("run", "out=out"))
        assert why in refusal(compare("run", str(four_epochs)))
    if name != "status.json":
        with pytest.raises(ValueError, match="cannot be read"):
            check_results(run, "resume", {})
    else:
        assert Run(run).status() == {}


def test_arrays_of_a_row_are_no_larger_than_its_images_make_them(workdir, four_epochs, monkeypatch):
    run = copy_of(four_epochs, workdir / "run")
    file = run / "per_image" / "clean.npz"
    arrays = dict(np.load(file))
    most = len(arrays["index"])
    monkeypatch.setattr(saved_results, "MOST_IMAGES", most)
    check_results(run, "resume", {})
    np.savez_compressed(file, **{**arrays, "index": np.zeros(100 * most, np.int64)})
    loaded = []
    monkeypatch.setattr(saved_results.NpzFile, "__getitem__", lambda self, name: loaded.append(name))
    (measured,) = find_measured("A", "run")
    for read in (lambda: check_results(run, "resume", {}), lambda: measured.images("clean")):
        with pytest.raises(ValueError, match="is damaged"):
            read()
    assert loaded == []


def test_a_run_of_somebody_else_is_named(workdir, four_epochs, monkeypatch):
    """In a folder that is closed to this user it cannot even be seen whether there is a run."""
    closed_to_this_user(monkeypatch, copy_of(four_epochs, workdir / "runs" / "closed"))
    why = "runs/closed: cannot be read (Permission denied)"
    assert refusal(report("runs", "out=out")) == f"RUNS={why}; no run has results to report"
    copy_of(four_epochs, workdir / "runs" / "open")
    outcome = report("runs", "out=out")
    assert outcome.code == 0, outcome.err
    assert why in outcome.out
    for command, key in ((evaluate_clean, "run"), (train, "resume"), (export, "run")):
        assert refusal(command(f"{key}=runs/closed")) == f"{key}={why}"


def closed_to_this_user(monkeypatch, folder):
    """As a folder of mode 700 that is another's; nothing is closed to the user who runs some tests."""
    original = os.stat

    def stat(path, **keys):
        if folder in Path(os.fsdecode(path)).absolute().parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return original(path, **keys)

    monkeypatch.setattr(os, "stat", stat)


def test_data_in_somebody_elses_folder_may_be_elsewhere_too(workdir, monkeypatch):
    from p2be_exp.runs.locations import locate, locations

    for name in ("closed/data", "mine"):
        Path(name).mkdir(parents=True)
    config = TrainConfig(data_dir="closed/data", dataset=DatasetConfig())
    info = {"locations": locations(config)}
    closed_to_this_user(monkeypatch, workdir / "closed")
    monkeypatch.setenv("P2BE_DATA_DIR", "mine")
    locate(config, info)
    assert config.data_dir == "mine"


def test_what_a_stranger_wrote_is_shown_and_not_obeyed(workdir, four_epochs):
    """A terminal takes some characters for commands: a new title, another colour, a line that covers the one before."""
    control = "\x1b]0;title\x07\x9b31m\r\b"
    run = Run(copy_of(four_epochs, workdir / "run"))
    config = run.stored_config() | {"departs_from_paper": f"a{control}note"}
    run.config_file.write_text(OmegaConf.to_yaml(OmegaConf.create(config)), encoding="utf-8")
    copy_of(four_epochs, workdir / "runs" / f"x{control}")
    copy_of(four_epochs, workdir / "runs" / "open")
    Run(workdir / "runs" / f"x{control}").set_status("failed", error=control)
    outcomes = (train("resume=run"), report("runs", "out=out"), compare("run", "runs/open"), evaluate_clean("run=run"))
    for outcome in outcomes:
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", outcome.out + outcome.err), outcome
    assert r"a\x1b]0;title\x07\x9b31m\r\x08note" in outcomes[0].out
    assert r"runs/x\x1b]0;title\x07\x9b31m\r\x08: not finished" in outcomes[1].out


def test_a_file_in_a_folders_place_is_named(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "run")
    shutil.rmtree(run / "figures")
    (run / "figures").write_text("precious")
    assert refusal(train("resume=run")) == "run/figures: cannot be used (File exists)"
    assert (run / "figures").read_text() == "precious"
