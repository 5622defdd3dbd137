"""A disk that becomes full: one line, exit code 1, and once there is space the same result as without."""

import json
import shutil

import numpy as np
import pytest

from commandline import ROOT, TINY, assert_equal, checkpoint_of, copy_of, train, untimed
from p2be_exp.runs.run import Run
from small_disk import with_mounts

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("workdir")]

SMALL = 'mkdir -p disk && mount -t tmpfs -o "size=$SIZE" tmpfs disk && [ ! -d before ] || cp -r before/. disk'


def on_small_disk(kilobytes: int, workdir, command: str, *arguments):
    """A command beside ``disk``, of which what it holds at the end is in ``after``."""
    arguments = (*command.split(), *arguments)
    after = "mkdir -p after && cp -r disk/. after"
    return with_mounts(SMALL, *arguments, cwd=workdir, after=after, warm=True, SIZE=f"{kilobytes}k")


def one_line(outcome) -> str:
    assert outcome.code == 1, outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    assert "no space left on device" in outcome.err
    return outcome.err


def test_a_training_stops_in_one_line_and_can_be_gone_on_with(workdir, four_epochs):
    """There is room for one checkpoint, not for the next beside it; and nothing is written elsewhere meanwhile."""
    checkpoint = (four_epochs / "checkpoints" / "last.ckpt").stat().st_size // 1024
    arguments = [*TINY, "epochs=4", "hydra.run.dir=disk/run"]
    said = one_line(on_small_disk(int(1.5 * checkpoint) + 100, workdir, str(ROOT / "train.py"), *arguments))
    assert "disk/run/checkpoints/last.ckpt: cannot be written" in said
    run = shutil.move(workdir / "after" / "run", workdir / "run")
    status = Run(run).status()
    assert (status["state"], status["exit_code"]) == ("failed", 1)
    assert said == f"error: {status['error']}\n"
    assert checkpoint_of(run)["epoch"] == 0
    assert not list(run.rglob("*.part"))
    (run / "checkpoints" / ".last.ckpt.abcdefgh.part").write_text("of a process that was killed")
    assert train(f"resume={run}").code == 0
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_equal(checkpoint_of(run)[part], checkpoint_of(four_epochs)[part], part)
    assert untimed(run / "metrics.csv") == untimed(four_epochs / "metrics.csv")
    assert not list(run.rglob("*.part"))


def test_on_a_disk_without_any_space_the_status_is_true(workdir):
    said = one_line(on_small_disk(24, workdir, str(ROOT / "train.py"), *TINY, "hydra.run.dir=disk/run"))
    assert "checkpoints/last.ckpt" in said
    assert Run(workdir / "after" / "run").status()["state"] == "failed"


def test_a_small_folder_for_temporary_files_is_no_matter(workdir, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", None)
    assert train(*TINY, "hydra.run.dir=run").code == 0


def test_an_evaluation(workdir, four_epochs):
    copy_of(four_epochs, workdir / "before" / "run")
    size = sum(file.stat().st_size // 4096 + 1 for file in (workdir / "before").rglob("*") if file.is_file()) * 4
    arguments = ["run=disk/run", "name=x", "attack=none", "corruption.names=[fog]", "trainer.progress=false"]
    said = one_line(on_small_disk(size + 20, workdir, str(ROOT / "evaluate.py"), *arguments))
    assert "disk/run/evaluations/x/" in said


def test_a_c_set(workdir):
    arguments = ["make", "dataset=digits", "names=[fog]", "severities=[1]", "out=disk/made"]
    said = one_line(on_small_disk(800, workdir, "-m p2be_exp.corruptions", *arguments))
    assert "disk/made/.fog.npy.part: cannot be written" in said
    made = workdir / "after" / "made"
    assert json.loads((made / "manifest.json").read_text())["blocks"] == {}
    assert on_small_disk(8000, workdir, "-m p2be_exp.corruptions", *arguments).code == 0
    assert np.load(made / "fog.npy").any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize(("kind", "ending"), [("torch_export", "pt2"), ("onnx", "onnx")])
def test_an_export(workdir, four_epochs, kind, ending):
    copy_of(four_epochs, workdir / "run")
    arguments = ["run=run", f"format={kind}", f"out=disk/model.{ending}"]
    assert "disk/model" in one_line(on_small_disk(100, workdir, "-m p2be_exp.export", *arguments))
    assert list((workdir / "after").iterdir()) == []
