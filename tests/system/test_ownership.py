"""One owner of a folder at a time: processes that want the same one, that are paused, killed or forked."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from commandline import (
    HANGS,
    TINY,
    compare,
    copy_of,
    corruptions,
    evaluate_clean,
    refusal,
    report,
    rows_of,
    train,
    wait_until,
)
from p2be_exp import load_run
from p2be_exp.errors import BadInput, InUse
from p2be_exp.evaluation.condition import CLEAN
from p2be_exp.evaluation.results import Results, Row
from p2be_exp.runs.run import Run
from p2be_exp.system import ownership
from p2be_exp.system.ownership import LOCK, holds, owned

HOLDER = """
import sys
from pathlib import Path
from p2be_exp.system.ownership import owned
with owned(Path(sys.argv[1]), "out"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def held_elsewhere(folder, script=HOLDER):
    """Another process that holds the lock of a folder until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=HANGS)


def contents(folder):
    """The bytes of every file apart from locks."""
    return {file: file.read_bytes() for file in sorted(Path(folder).rglob("*")) if file.is_file() and file.name != LOCK}


# -- the lock ---------------------------------------------------------------------------------------------------------


def test_of_two_processes_one_has_the_folder(tmp_path):
    with held_elsewhere(tmp_path / "out") as other:
        owner = f"process {other.pid} on {socket.gethostname()}"
        with pytest.raises(InUse, match=rf"^out=.*/out: in use by {owner}$"), owned(tmp_path / "out", "out"):
            pytest.fail("it is another's")
    with owned(tmp_path / "out", "out") as locked:
        assert locked


def test_a_process_that_is_paused_still_has_it(tmp_path):
    with held_elsewhere(tmp_path) as other:
        other.send_signal(signal.SIGSTOP)
        with pytest.raises(InUse), owned(tmp_path, "out"):
            pytest.fail("it is another's")
        other.send_signal(signal.SIGCONT)


def test_one_that_is_killed_has_it_no_more_though_its_forked_children_live(tmp_path):
    forks = HOLDER.replace(
        "    print(",
        "    import os, time\n"
        "    file = Path(sys.argv[1], 'child')\n"
        "    if os.fork() == 0:\n"
        "        file.with_suffix('.part').write_text(str(os.getpid()))\n"
        "        file.with_suffix('.part').rename(file)\n"
        "        time.sleep(600)\n"
        "    while not file.exists():\n"
        "        time.sleep(0.01)\n"
        "    print(",
    )
    with held_elsewhere(tmp_path, forks) as other:
        child = int((tmp_path / "child").read_text())
        try:
            other.kill()
            other.wait(HANGS)
            os.kill(child, 0)  # lives
            with owned(tmp_path, "out") as locked:
                assert locked
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_process_may_hold_it_several_times(tmp_path):
    with owned(tmp_path, "a"):
        with owned(tmp_path, "b") as locked:
            assert locked
        assert holds(tmp_path)
        assert taken_by_another_process(tmp_path) == "refused"
    assert not holds(tmp_path)
    assert taken_by_another_process(tmp_path) == "taken"


def taken_by_another_process(folder):
    code = """
    import sys
    from pathlib import Path
    from p2be_exp.errors import InUse
    from p2be_exp.system.ownership import owned
    try:
        with owned(Path(sys.argv[1]), "out"):
            print("taken")
    except InUse:
        print("refused")
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_folder_that_stayed_empty_goes_again_and_one_that_was_there_stays(tmp_path):
    with owned(tmp_path / "a" / "b", "out"):
        assert (tmp_path / "a" / "b" / LOCK).is_file()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "c").mkdir()
    with owned(tmp_path / "c", "out"):
        pass
    assert [file.name for file in (tmp_path / "c").iterdir()] == [LOCK]  # others may be waiting for it
    with owned(tmp_path / "d", "out"):
        (tmp_path / "d" / "file").touch()
    assert sorted(file.name for file in (tmp_path / "d").iterdir()) == [LOCK, "file"]


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    """Between opening and locking, its owner removes the folder that stayed empty."""
    import fcntl

    original, calls = fcntl.flock, []

    def flock(descriptor, operation):
        calls.append(operation)
        if len(calls) == 1:
            (tmp_path / "out" / LOCK).unlink()
        original(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", flock)
    with owned(tmp_path / "out", "out"):
        assert len(calls) == 2
        assert taken_by_another_process(tmp_path / "out") == "refused"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(tmp_path, monkeypatch, number):
    def flock(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", flock)
    with owned(tmp_path, "out") as locked, owned(tmp_path, "out"):
        assert not locked
        assert not holds(tmp_path)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK).symlink_to(tmp_path / "victim")
    with pytest.raises(BadInput, match=r"out: cannot be written \(.lock is a link\)$"), owned(tmp_path / "out", "out"):
        pytest.fail("through a link")
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("link", [True, False])
def test_a_lock_file_that_is_somebodys_is_locked_and_left_as_it_is(tmp_path, link):
    (tmp_path / "out").mkdir()
    (tmp_path / "victim").write_text(json.dumps({"pid": 1, "host": "a"}) if link else "precious")
    if link:
        (tmp_path / "out" / LOCK).hardlink_to(tmp_path / "victim")
    else:
        (tmp_path / "victim").rename(tmp_path / "out" / LOCK)
    before = (tmp_path / "out" / LOCK).read_bytes()
    with owned(tmp_path / "out", "out") as locked:
        assert locked
        assert taken_by_another_process(tmp_path / "out") == "refused"
    assert (tmp_path / "out" / LOCK).read_bytes() == before


@pytest.mark.parametrize("place", ["_is_still", "_sign"])
def test_a_lock_is_let_go_where_a_signal_comes_while_it_is_taken(tmp_path, monkeypatch, place):
    def stopped(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ownership, place, stopped)
        with pytest.raises(KeyboardInterrupt), owned(tmp_path, "out"):
            pytest.fail("it was stopped before")
    assert not holds(tmp_path)
    assert taken_by_another_process(tmp_path) == "taken"


@pytest.mark.parametrize("text", ['{"pid": Infinity, "host": ""}', "[" * 999, "[]", '{"pid": 1}', "\0"])
def test_a_refusal_needs_no_signature(tmp_path, text):
    with held_elsewhere(tmp_path):
        (tmp_path / LOCK).write_text(text)
        with pytest.raises(InUse, match=r"in use by another process$"), owned(tmp_path, "out"):
            pytest.fail("it is another's")


def test_a_block_that_goes_to_another_folder_removes_nothing_there(tmp_path, monkeypatch):
    (tmp_path / "elsewhere" / "out").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with owned(Path("out"), "out"):
        monkeypatch.chdir(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "out").is_dir()
    assert not (tmp_path / "out").exists()


def test_a_lock_that_cannot_be_removed_is_let_go_and_hides_no_refusal(tmp_path, monkeypatch):
    def refused(*arguments, **keys):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def job():
        with owned(tmp_path, "out"):
            patched.setattr(Path, "unlink", refused)
            raise BadInput("the reason")

    with monkeypatch.context() as patched, pytest.raises(BadInput, match="the reason"):
        job()
    assert not holds(tmp_path)
    assert taken_by_another_process(tmp_path) == "taken"


def test_patience_waits_for_an_owner_that_goes(tmp_path):
    with held_elsewhere(tmp_path) as other:
        other.stdin.write("\n")
        other.stdin.flush()
        with owned(tmp_path, "out", patience=HANGS) as locked:
            assert locked


# -- the commands -----------------------------------------------------------------------------------------------------


def test_a_run_that_another_process_trains_is_refused_and_left_alone(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "run")
    with held_elsewhere(run) as other:
        before, owner = contents(run), f"in use by process {other.pid} on {socket.gethostname()}"
        assert refusal(train("resume=run")) == f"resume=run: {owner}"
        assert refusal(train(*TINY, "hydra.run.dir=run")).startswith("hydra.run.dir=run: already holds a run")
        assert contents(run) == before
        # Whoever only reads needs no lock.
        load_run(run)
        assert evaluate_clean("run=run", "limit_test=5").code == 0
        assert report("run", "out=out").code == 0
        assert train(*TINY, "encoding.table_from=run", "hydra.run.dir=new", "epochs=1").code == 0
    assert train("resume=run").code == 0


def test_two_trainings_that_start_in_one_folder(workdir):
    with held_elsewhere("run") as other:  # which has made nothing but the folder so far
        message = refusal(train(*TINY, "hydra.run.dir=run"))
        assert message == f"hydra.run.dir=run: in use by process {other.pid} on {socket.gethostname()}"
        assert contents("run") == {}
    outcome = train(*TINY, "hydra.run.dir=run", "epochs=1")
    assert outcome.code == 0, outcome.err


def test_a_training_holds_its_folder_from_before_the_data_to_the_end_of_its_evaluation(workdir, monkeypatch):
    from p2be_exp.evaluation import job as evaluations
    from p2be_exp.training import job as jobs

    found = []

    def noted(function):
        def call(*arguments, **keys):
            found.append((function.__name__, taken_by_another_process("run")))
            return function(*arguments, **keys)

        return call

    for module, name in ((jobs, "build_data"), (evaluations, "results_table")):
        monkeypatch.setattr(module, name, noted(getattr(module, name)))
    assert train(*TINY, "hydra.run.dir=run", "epochs=1").code == 0
    assert found == [("build_data", "refused"), ("results_table", "refused")]
    assert taken_by_another_process("run") == "taken"


def test_a_training_that_cannot_start_leaves_no_folder(workdir):
    assert train(*TINY, "dataset=image_folder", "dataset.dir=nowhere", "hydra.run.dir=new/run").code == 2
    assert list(workdir.iterdir()) == []


def test_an_evaluation_owns_its_own_folder_alone(workdir, four_epochs):
    copy_of(four_epochs, workdir / "run")
    with held_elsewhere("run/evaluations/mine") as other:
        message = refusal(evaluate_clean("run=run", "name=mine"))
        assert message == f"name=run/evaluations/mine: in use by process {other.pid} on {socket.gethostname()}"
        assert contents("run/evaluations") == {}
        assert evaluate_clean("run=run", "name=other").code == 0


def test_a_job_of_a_sweep_that_another_process_does_is_left_to_it(workdir):
    arguments = ["-m", *TINY, "seed=0,1", "epochs=1", "hydra.sweep.dir=sweep"]
    with held_elsewhere("sweep/0") as other:
        outcome = train(*arguments)
        assert outcome.code == 2
        assert f"hydra.sweep.dir=sweep/0: in use by process {other.pid}" in outcome.err
        assert contents("sweep/0") == {}  # not even a status
        assert Run("sweep/1").status()["state"] == "finished"
    assert train(*arguments).code == 0


def test_folders_of_reports_comparisons_and_corrupted_sets_have_one_owner(workdir, four_epochs, rgb_run):
    with held_elsewhere("out"):
        for outcome in (
            report(str(four_epochs), "out=out"),
            compare(str(four_epochs), str(rgb_run), "out=out"),
            corruptions("make", "dataset=digits", "out=out", "names=[fog]", "severities=[1]", "limit_test=3"),
        ):
            assert ": in use by process " in refusal(outcome)
        assert contents("out") == {}


# -- rows -------------------------------------------------------------------------------------------------------------


def test_a_row_is_added_to_the_file_as_it_is(tmp_path):
    """A process that was paused for long, on a file system without locks, takes nothing away."""
    images = {
        "index": np.arange(4), "label": np.zeros(4, int), "prediction": np.zeros(4, int),
        "confidence": np.full(4, 0.5), "wrong": np.array([False, False, False, True]),
    }  # fmt: skip
    from p2be_exp.evaluation.condition import Condition

    paused, other = Results(tmp_path, {"a": 1}), Results(tmp_path, {"a": 1})
    names = [f"corruption/fog/{severity}" for severity in range(1, 6)]
    for severity in range(1, 6):
        other.add(Row.of(Condition("corruption", "fog", severity), 4, 1, 0.1), images)
    paused.add(Row.of(CLEAN, 4, 1, 0.1), images)
    assert [row["condition"] for row in rows_of(tmp_path / "results.csv")] == [*names, "clean"]
    assert list(json.loads((tmp_path / "results.json").read_text())["conditions"]) == [*names, "clean"]


# -- somebody's folder ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["notes.txt", "config.yaml", "checkpoints", "status.json", ".hidden"])
def test_a_folder_with_somebodys_files_is_refused(workdir, name):
    Path("mine").mkdir()
    if name == "checkpoints":
        Path("mine/checkpoints").mkdir()
        Path("mine/checkpoints/last.ckpt").write_text("precious")
    else:
        Path("mine", name).write_text("precious: 1\n")
    before = contents("mine")
    for key, arguments in (("hydra.run.dir=mine", []), ("hydra.sweep.dir=.", ["-m", "hydra.sweep.subdir=mine"])):
        outcome = train(*TINY, key, *arguments)
        assert outcome.code == 2
        assert f"=mine: holds {name}, which no run has written; choose another folder" in outcome.err
        assert contents("mine") == before


@pytest.mark.parametrize("name", ["config.yaml", ".hydra", "status.json", ".config.yaml.abcd1234.part"])
def test_a_folder_with_links_is_no_start_that_was_killed(workdir, four_epochs, name):
    source = {"config.yaml": Run(four_epochs).config_file, "status.json": Run(four_epochs).status_file}
    Path("mine").mkdir()
    Path("mine", name).symlink_to(source.get(name, workdir))
    message = refusal(train(*TINY, "hydra.run.dir=mine", "epochs=1"))
    assert message == f"hydra.run.dir=mine: holds {name}, which no run has written; choose another folder"


def test_what_a_killed_start_left_behind_is_no_hindrance(workdir, four_epochs):
    Path("run").mkdir()
    for name in (".config.yaml.abcd1234.part", LOCK, "train.log"):
        Path("run", name).write_text("half")
    Path("run/config.yaml").write_bytes(Run(four_epochs).config_file.read_bytes())
    Run("run").set_status("failed", exit_code=2, error="no data")
    assert train(*TINY, "hydra.run.dir=run", "epochs=1").code == 0
    assert Run("run").config().epochs == 1


def test_a_start_that_was_killed_between_its_two_files_is_no_run_yet(workdir):
    Path("run").mkdir()
    Path("run/run.json").write_text("{}")
    assert train(*TINY, "hydra.run.dir=run", "epochs=1").code == 0
    assert Run("run").info()["format_version"] == 1


# -- links ------------------------------------------------------------------------------------------------------------


def test_nothing_is_written_or_removed_through_links(workdir, four_epochs):
    Path("elsewhere").mkdir()
    for name in ("results.csv", "results.json", ".results.csv.abcd1234.part", "old.csv", "last.ckpt"):
        Path("elsewhere", name).write_text("precious")
    run, before = copy_of(four_epochs, workdir / "run"), contents("elsewhere")

    Path("run/evaluations").mkdir()
    Path("run/evaluations/mine").symlink_to(workdir / "elsewhere")
    message = refusal(evaluate_clean("run=run", "name=mine"))
    assert message == "run=run: evaluations/mine in it is a link; nothing is written through links"
    Path("run/evaluations/mine").unlink()
    Path("run/evaluations").rmdir()
    Path("run/evaluations").symlink_to(workdir / "elsewhere")
    assert refusal(evaluate_clean("run=run", "name=mine")).startswith("run=run: evaluations in it is a link")

    (run / "tensorboard").mkdir()
    (run / "tensorboard" / "hparams.yaml").symlink_to(workdir / "elsewhere" / "new.yaml")
    message = refusal(train("resume=run", "logger=tensorboard"))
    assert message == "resume=run: tensorboard/hparams.yaml in it is a link; nothing is written through links"
    assert contents("elsewhere") == before
    (run / "tensorboard" / "hparams.yaml").unlink()

    (run / "per_image").rename("elsewhere/per_image")
    (run / "per_image").symlink_to(workdir / "elsewhere/per_image")
    before = contents("elsewhere")
    assert refusal(train("resume=run")) == "resume=run: per_image in it is a link; nothing is written through links"

    assert report(str(four_epochs), "out=out").code == 0
    for file in Path("out/tables").iterdir():
        file.unlink()
    Path("out/tables").rmdir()
    Path("out/tables").symlink_to(workdir / "elsewhere")
    Path("out/report.json").write_text(json.dumps({"files": ["tables/old.csv"]}))
    for name in ("report.md", "index.html"):
        Path("out", name).unlink()
    message = refusal(report(str(four_epochs), "out=out"))
    assert message == "out=out: tables in it is a link; nothing is written through links"
    assert contents("elsewhere") == before


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_set_is_not_made_in_somebody_elses_file(workdir, link):
    arguments = ["make", "dataset=digits", "names=[fog]", "severities=[1]", "limit_test=3"]
    assert corruptions(*arguments, "out=wanted").code == 0
    np.save("victim.npy", np.zeros((3, 32, 32, 3), np.uint8))  # which even has the right form
    Path("out").mkdir()
    getattr(Path("out/.fog.npy.part"), link)(workdir / "victim.npy")
    before = Path("victim.npy").read_bytes()
    assert corruptions(*arguments, "out=out").code == 0
    assert Path("victim.npy").read_bytes() == before
    assert Path("out/fog.npy").read_bytes() == Path("wanted/fog.npy").read_bytes()
    assert not Path("out/fog.npy").is_symlink()


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_hydra_writes_of_a_sweep_through_no_link(workdir, link):
    """Its multirun.yaml is opened by name."""
    Path("sweep").mkdir()
    Path("victim").write_text("precious")
    getattr(Path("sweep/multirun.yaml"), link)(workdir / "victim")
    why = "hydra.sweep.dir=sweep: multirun.yaml in it is a link; nothing is written through links"
    for arguments in (["-m", "seed=0,1"], ["sweeps=table2", "scale=small"]):
        assert refusal(train(*TINY, *arguments, "hydra.sweep.dir=sweep")) == why
    assert Path("victim").read_text() == "precious"
    assert [file.name for file in Path("sweep").iterdir()] == ["multirun.yaml"]


def test_a_report_of_a_sweep_is_not_written_through_a_link(workdir):
    Path("sweep").mkdir()
    Path("elsewhere").mkdir()
    Path("sweep/report").symlink_to(workdir / "elsewhere")
    message = refusal(train("sweeps=table2", "scale=small", "hydra.sweep.dir=sweep"))
    assert message == "hydra.sweep.dir=sweep: report in it is a link; nothing is written through links"


def test_a_last_word_on_a_full_disk_is_not_written_through_a_link(tmp_path, monkeypatch):
    from p2be_exp.system import atomic

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, "write_json", full)
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "status.json").symlink_to(tmp_path / "victim")
    atomic.overwrite_json(tmp_path / "status.json", {})
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_checkpoint_names_no_file_that_is_removed_but_its_own():
    from p2be_exp.training.callbacks.checkpoints import checkpoint_callbacks

    best = checkpoint_callbacks(Run("run"), has_validation=True)[0]
    state = best.state_dict() | {"best_model_path": "/etc/..", "best_k_models": {"/a/b/..": 1.0, "": 2.0}}
    best.load_state_dict(state)
    assert set(best.best_k_models) == {best.best_model_path} == {str(Path(best.dirpath) / "best.ckpt")}


# -- whole processes --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_that_resume_one_run(workdir, four_epochs):
    """Started together, one trains on, the other is refused; three times."""
    from commandline import ROOT, finish, start_warm

    whole = copy_of(four_epochs, workdir / "run")
    for file in ("results.csv", "results.json"):
        (whole / file).unlink()
    first = start_warm(ROOT / "train.py", "resume=run", "trainer.progress=false", cwd=workdir)
    wait_until(lambda: (workdir / "run" / LOCK).read_text() != "" and holder_of("run") == first.pid, first)
    second = start_warm(ROOT / "train.py", "resume=run", cwd=workdir)
    codes = sorted((finish(first).code, finish(second).code))
    assert codes in ([0, 2], [0, 0])  # both where the second came after the first had ended
    assert Run("run").status()["state"] == "finished"


def holder_of(folder):
    try:
        return json.loads(Path(folder, LOCK).read_text())["pid"]
    except (OSError, ValueError, KeyError):
        return None
