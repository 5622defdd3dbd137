"""Training and evaluating on picture files from the command line: the same bits however they are decoded."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from commandline import (
    assert_equal,
    at_batch,
    checkpoint_of,
    copy_of,
    corruptions,
    evaluate,
    evaluate_clean,
    refusal,
    rows_of,
    train,
    untimed,
)
from p2be_exp import load_run
from p2be_exp.corruptions.apply import corrupt
from p2be_exp.data import FolderSettings, load_dataset
from p2be_exp.evaluation import EvaluationModule
from p2be_exp.runs import find_run
from pictures import WNIDS, damage, picture, write_imagenet

pytestmark = pytest.mark.usefixtures("workdir")

SETTINGS = (
    "dataset=imagenet",
    "dataset.image_size=16",
    "dataset.resized=18",
    "backbone=wrn16_1",
    "encoding.M=4",
    "regime=augmix",
    "optim=imagenet",
    "optim.milestones=[1]",
    "epochs=2",
    "batch_size=8",
    "eval_batch_size=4",
    "trainer=cpu",
    "trainer.progress=false",
)
TRAIN_FILE = "n01443537/n01443537_5.JPEG"
TEST_FILE = "n01440764/n01440764_0.JPEG"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """ImageNet in small: 24 training and 9 test images, of both of which one cannot be read; and an ImageNet-C."""
    folder = tmp_path_factory.mktemp("data")
    imagenet = write_imagenet(folder)
    damage(imagenet / "train" / TRAIN_FILE)
    damage(imagenet / "val" / TEST_FILE)
    for number, name in enumerate(("fog", "contrast")):
        for label, wnid in enumerate(WNIDS):
            home = folder / "ImageNet-C" / name / "2" / wnid
            home.mkdir(parents=True)
            for image in range(3):
                picture(100 * number + 10 * label + image, 224, 224).save(home / f"{wnid}_{image}.JPEG")
    return folder


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """A finished run whose images were decoded in this process: not to be changed."""
    folder = tmp_path_factory.mktemp("picture_files") / "run"
    outcome = trained(data_dir, folder, "dataset.workers=0")
    lines = [line for line in outcome.err.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 3  # an epoch, an epoch, the evaluation
    assert f"imagenet/train: 1 of 24 images cannot be read and are left out: {TRAIN_FILE} (" in lines[0]
    assert f"imagenet/test: 1 of 9 images cannot be read and are left out: {TEST_FILE} (" in lines[2]
    return folder


def trained(data_dir, folder, *arguments):
    outcome = train(*SETTINGS, f"data_dir={data_dir}", *arguments, f"hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.err
    return outcome


def assert_same_run(one: Path, other: Path):
    left, right = checkpoint_of(one), checkpoint_of(other)
    for part in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "train_meter"):
        assert_equal(left[part], right[part], part)
    assert untimed(one / "metrics.csv") == untimed(other / "metrics.csv")
    assert untimed(one / "results.csv") == untimed(other / "results.csv")


def test_the_run(run):
    (clean,) = rows_of(run / "results.csv")
    assert clean["n"] == "8"
    rates = [float(row["lr/backbone"]) for row in rows_of(run / "metrics.csv")]
    assert rates == pytest.approx([0.01, 0.01])  # of the next step
    info = json.loads((run / "run.json").read_text())
    assert info["dataset"] == {"train": 24, "test": 9}
    assert info["classes"] == list(WNIDS)
    with np.load(run / "per_image" / "clean.npz") as images:
        assert images["index"].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_stopped_within_an_epoch_and_gone_on_with_is_as_in_one_go(monkeypatch, data_dir, run):
    at_batch(monkeypatch, 1, 0, lambda: os.kill(os.getpid(), signal.SIGINT))
    outcome = train(*SETTINGS, f"data_dir={data_dir}", "dataset.workers=1", "hydra.run.dir=run")
    assert outcome.code == 130
    assert checkpoint_of(Path("run"))["global_step"] == 3 + 1
    assert train("resume=run").code == 0
    assert_same_run(Path("run"), run)


def test_a_model_is_loaded_without_its_data(run, tmp_path):
    copy = copy_of(run, tmp_path / "copy")
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("data_dir: /", "data_dir: /nowhere/"))
    assert load_run(copy)(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)).shape == (2, 3)


def test_a_run_from_before_there_was_a_choice_was_flipped_and_cropped(four_epochs, tmp_path):
    copy = copy_of(four_epochs, tmp_path / "copy")
    lines = (copy / "config.yaml").read_text().splitlines()
    new = ("  augmentation:", "  schedule:", "  milestones:", "  gamma:")
    (copy / "config.yaml").write_text("\n".join(line for line in lines if not line.startswith(new)))
    config, now = find_run(copy).config(), find_run(four_epochs).config()
    assert config["dataset"]["augmentation"] == "flip_crop"
    assert (config["dataset"], config["optim"]) == (now["dataset"], now["optim"])


def test_imagenet_c(run, tmp_path):
    copy = copy_of(run, tmp_path / "copy")
    outcome = evaluate(f"run={copy}", "corruption=imagenet_c", "corruption.severities=[2]", "corruption.workers=0",
                       "attack=none", "trainer=cpu", "name=c")  # fmt: skip
    assert outcome.code == 0, outcome.err
    counts = {row["condition"]: row["n"] for row in rows_of(copy / "evaluations" / "c" / "results.csv")}
    assert counts == {"clean": "8", "corruption/fog/2": "9", "corruption/contrast/2": "9"}
    results = json.loads((copy / "evaluations" / "c" / "results.json").read_text())
    assert (results["corruptions"]["source"], results["mce"]) == ("official", None)
    assert (copy / "evaluations" / "c" / "figures" / "corruptions.png").exists()


def test_generated_corruptions_and_attacks_show_what_they_say(monkeypatch, data_dir, run, tmp_path):
    copy, shown = copy_of(run, tmp_path / "copy"), {}
    original = EvaluationModule.test_step

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        shown.setdefault(self.conditions[dataloader_idx].id, []).append(batch)
        original(self, batch, batch_idx, dataloader_idx)

    monkeypatch.setattr(EvaluationModule, "test_step", test_step)
    outcome = evaluate(f"run={copy}", "corruption=generated", "corruption.names=[gaussian_noise]",
                       "corruption.severities=[5]", "corruption.workers=2", "attack=pgd", "attack.steps=2",
                       "attack.restarts=1", "trainer=cpu", "name=c")  # fmt: skip
    assert outcome.code == 0, outcome.err
    settings = FolderSettings(None, 16, 18, 0, True)
    clean = load_dataset("imagenet", data_dir, folder=settings)[1].subset(range(1, 9)).pictures(torch.arange(8))
    noisy = corrupt(clean.permute(0, 2, 3, 1).numpy(), "gaussian_noise", 5, dataset="imagenet", indices=np.arange(1, 9))
    seen = torch.cat([batch.images for batch in shown["corruption/gaussian_noise/5"]])
    assert np.array_equal(seen.permute(0, 2, 3, 1).numpy(), noisy)
    assert torch.equal(torch.cat([batch.images for batch in shown["clean"]]), clean)
    rows = rows_of(copy / "evaluations" / "c" / "results.csv")
    assert {row["n"] for row in rows} == {"8"}
    results = json.loads((copy / "evaluations" / "c" / "results.json").read_text())
    verdicts = {check["name"]: check["verdict"] for check in results["sanity"]}
    assert verdicts["forwards agree exactly"] == verdicts["a planted adversarial image is found"] == "ok"
    figures = {path.name for path in (copy / "evaluations" / "c" / "figures").iterdir()}
    assert {"corruptions.png", "adversarial_images.png"} <= figures


def test_a_set_is_made_of_picture_files_and_measured(run, data_dir, tmp_path):
    arguments = ["dataset=imagenet", "dataset.image_size=16", "dataset.resized=18", "names=[contrast]",
                 "severities=[4]", f"out={tmp_path}/c"]  # fmt: skip
    assert TEST_FILE in refusal(corruptions("make", *arguments, f"data_dir={data_dir}"))
    shutil.rmtree(tmp_path / "c")
    whole = tmp_path / "whole"
    write_imagenet(whole)
    outcome = corruptions("make", *arguments, f"data_dir={whole}")
    assert outcome.code == 0, outcome.err
    test = load_dataset("imagenet", whole, folder=FolderSettings(None, 16, 18, 0, True))[1]
    clean = test.pictures(torch.arange(9)).permute(0, 2, 3, 1).numpy()
    expected = corrupt(clean, "contrast", 4, dataset="imagenet", indices=np.arange(9))
    assert np.array_equal(np.load(tmp_path / "c" / "contrast.npy"), expected)
    copy = copy_of(run, tmp_path / "copy")
    outcome = evaluate(f"run={copy}", f"data_dir={whole}", "corruption=generated", "corruption.names=[contrast]",
                       "corruption.severities=[4]", f"corruption.dir={tmp_path}/c", "attack=none", "trainer=cpu",
                       "name=made")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert [row["n"] for row in rows_of(copy / "evaluations" / "made" / "results.csv")] == ["9", "9"]


def test_another_folder_of_the_same_classes(run, tmp_path):
    copy = copy_of(run, tmp_path / "copy")
    write_imagenet(tmp_path / "other", test=2)
    where = f"dataset_dir={tmp_path}/other/imagenet"
    assert evaluate_clean(f"run={copy}", "trainer=cpu", "name=here").code == 0
    assert evaluate_clean(f"run={copy}", "trainer=cpu", where, "name=there").code == 0
    (row,) = rows_of(copy / "evaluations" / "there" / "results.csv")
    assert row["n"] == "6"
    told = refusal(evaluate_clean(f"run={copy}", "trainer=cpu", where, "name=here"))
    assert told.startswith("name=here: holds results of other settings (test_files=")


def test_other_classes_are_refused(run, tmp_path):
    imagenet = write_imagenet(tmp_path / "other")
    for part in ("train", "val"):
        (imagenet / part / WNIDS[0]).rename(imagenet / part / "n00000001")
    told = refusal(evaluate_clean(f"run={run}", "trainer=cpu", f"dataset_dir={imagenet}"))
    assert told == (
        f"dataset=imagenet: other classes than those that {run} was trained on (2 are in one alone, n00000001 first)"
    )


def test_dataset_dir_goes_with_picture_files(four_epochs):
    told = refusal(evaluate_clean(f"run={four_epochs}", "dataset_dir=elsewhere"))
    assert told == "dataset_dir=elsewhere: digits is in data_dir; data_dir=FOLDER says where"


def test_nothing_that_can_be_read_is_refused(tmp_path):
    imagenet = write_imagenet(tmp_path / "other", train=2, test=1)
    for file in (imagenet / "train").rglob("*.JPEG"):
        file.write_bytes(b"nothing")
    told = refusal(train(*SETTINGS, f"data_dir={tmp_path}/other", "dataset.workers=0", "hydra.run.dir=run"))
    assert told.startswith("imagenet/train: none of the 6 images can be read: ")


def test_a_missing_folder_is_explained():
    told = refusal(train(*SETTINGS, "data_dir=nowhere", "hydra.run.dir=run"))
    assert told.startswith("dataset=imagenet: no folder nowhere/imagenet; wanted are ")
    assert not Path("run").exists()
