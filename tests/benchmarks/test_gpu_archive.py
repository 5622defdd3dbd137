"""What is taken away of a training."""

import zipfile
from random import Random

import pytest
import torch

from benchmarks.gpu.archive import WEIGHTS, write_archive
from commandline import checkpoint_of, copy_of, evaluate_clean
from p2be_exp import load_run
from p2be_exp.runs.run import Run


@pytest.fixture(scope="module")
def packed(four_epochs, tmp_path_factory):
    """An archive of a P2BE run, unpacked."""
    folder = tmp_path_factory.mktemp("packed")
    assert write_archive(Run(four_epochs), folder / "p2be.zip", 2**24) == []
    with zipfile.ZipFile(folder / "p2be.zip") as archive:
        archive.extractall(folder)
    return folder / four_epochs.name


def test_rows_and_figures_are_those_of_the_run(packed, four_epochs):
    for name in ("config.yaml", "run.json", "metrics.csv", "results.csv", "figures/table_similarity.png"):
        assert (packed / name).read_bytes() == (four_epochs / name).read_bytes()
    assert not (packed / "per_image").exists()


def test_the_weights_are_the_runs_in_bf16_and_no_optimizer_is_with_them(packed, four_epochs):
    saved, original = torch.load(packed / WEIGHTS, weights_only=True), checkpoint_of(four_epochs)
    assert saved["state_dict"].keys() == original["state_dict"].keys()
    for name, value in saved["state_dict"].items():
        there = original["state_dict"][name]
        assert value.dtype == (torch.bfloat16 if there.is_floating_point() else there.dtype)
        assert torch.equal(value, there.to(value.dtype))
    assert "optimizer_states" not in saved
    assert saved["global_step"] == original["global_step"]


def test_renamed_to_last_they_are_loaded(packed, four_epochs):
    run = packed
    (run / "checkpoints" / "last.ckpt").write_bytes((run / WEIGHTS).read_bytes())
    model, original = load_run(run), load_run(four_epochs)
    assert torch.equal(model.encoding.table(), original.encoding.table())  # the signs are the same
    images = torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        ours, theirs = model(images), original(images)
    assert evaluate_clean(f"run={run}", "name=again", "limit_test=8", "trainer.progress=false").code == 0
    assert ours.dtype == torch.float32
    assert (ours - theirs).abs().max() < 0.1 * theirs.abs().max()


def test_where_there_is_no_room_figures_are_left_out_first(four_epochs, tmp_path):
    run, file = copy_of(four_epochs, tmp_path / "run"), tmp_path / "p2be.zip"
    (run / "figures" / "table_similarity.png").write_bytes(Random(0).randbytes(2**16))  # as a drawn one
    write_archive(Run(run), file, 2**24)
    figures = (run / "figures" / "table_similarity.png").stat().st_size
    most = file.stat().st_size - figures // 2 + 8192
    assert write_archive(Run(run), file, most) == ["figures/table_similarity.png"]
    assert file.stat().st_size <= most
    with zipfile.ZipFile(file) as archive:
        assert f"{run.name}/{WEIGHTS}" in archive.namelist()


def test_a_training_without_a_checkpoint_leaves_its_rows(four_epochs, tmp_path):
    run = copy_of(four_epochs, tmp_path / "rgb")
    (run / "checkpoints" / "last.ckpt").unlink()
    write_archive(Run(run), tmp_path / "rgb.zip", 2**24)
    with zipfile.ZipFile(tmp_path / "rgb.zip") as archive:
        assert "rgb/metrics.csv" in archive.namelist()
        assert f"rgb/{WEIGHTS}" not in archive.namelist()
