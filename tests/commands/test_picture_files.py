"""Training and evaluating on picture files from the command line: the same bits however they are decoded."""

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from commandline import (
    ROOT,
    assert_equal,
    at_batch,
    checkpoint_of,
    copy_of,
    corruptions,
    evaluate,
    evaluate_clean,
    finish,
    refusal,
    rows_of,
    start_warm,
    train,
    untimed,
)
from p2be_exp import load_run
from p2be_exp.corruptions.apply import corrupt
from p2be_exp.data import FolderSettings, decoding_worker, file_loader, load_dataset
from p2be_exp.data.decoding import TestView
from p2be_exp.data.file_loader import FileLoader
from p2be_exp.evaluation.agreement import check_classes, check_files
from p2be_exp.evaluation.data import build_data
from p2be_exp.evaluation.module import EvaluationModule
from p2be_exp.runs.run import Run
from pictures import LATIN_1, WNIDS, damage, picture, write_imagenet, write_latin_1
from small_disk import with_mounts

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


def test_stopped_in_a_wait_for_pictures_and_gone_on_with_is_as_in_one_go(monkeypatch, data_dir, run, tmp_path):
    """The fifth chunk, of the second batch of the second epoch, does not come, and in the wait for it the signal."""
    decode, check_wait, stuck = decoding_worker.decode, FileLoader._check_wait, tmp_path / "stuck"

    def fifth_alone(*arguments, calls=[]):  # noqa: B006  # of the worker
        calls.append(1)
        if len(calls) == 5:
            stuck.touch()
            time.sleep(600)
        return decode(*arguments)

    def stopped_where_stuck(self, seconds):
        if stuck.exists():
            stuck.unlink()
            os.kill(os.getpid(), signal.SIGTERM)
        check_wait(self, seconds)

    with monkeypatch.context() as patch:
        patch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)
        patch.setattr(file_loader, "LOOK", 0.05)
        patch.setattr(file_loader, "GRACE", 0.2)
        patch.setattr(decoding_worker, "decode", fifth_alone)
        patch.setattr(FileLoader, "_check_wait", stopped_where_stuck)
        outcome = train(*SETTINGS, f"data_dir={data_dir}", "dataset.workers=1", "hydra.run.dir=run")
    assert outcome.code == 143, outcome.err
    assert Run("run").status()["state"] == "interrupted"
    assert checkpoint_of(Path("run"))["global_step"] == 3 + 1
    assert train("resume=run", "dataset.workers=0", "dataset.timeout=20").code == 0
    assert_same_run(Path("run"), run)


def test_a_stop_signal_does_not_end_a_wait_in_a_validation(monkeypatch, data_dir):
    """The epoch before it could not be saved in the middle of it."""
    decode, check_wait = decoding_worker.decode, FileLoader._check_wait

    def slow_where_tested(folder, names, view, draws):
        time.sleep(0 if draws is not None else 0.5)
        return decode(folder, names, view, draws)

    def stopped(self, seconds):
        if self.crop_seed is None and not told:
            told.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        check_wait(self, seconds)

    told = []
    monkeypatch.setattr(file_loader, "LOOK", 0.05)
    monkeypatch.setattr(file_loader, "GRACE", 0.0)
    monkeypatch.setattr(decoding_worker, "decode", slow_where_tested)
    monkeypatch.setattr(FileLoader, "_check_wait", stopped)
    outcome = train(*SETTINGS, f"data_dir={data_dir}", "dataset.val_size=8", "dataset.workers=1", "hydra.run.dir=run")
    assert outcome.code == 143, outcome.err
    assert told
    assert checkpoint_of(Path("run"))["global_step"] == 2


def test_a_resumed_run_may_decode_otherwise(run, tmp_path):
    copy = copy_of(run, tmp_path / "copy")
    before = (copy / "config.yaml").read_text()
    assert train(f"resume={copy}", "dataset.workers=1", "dataset.timeout=60").code == 0
    assert (copy / "config.yaml").read_text() == before
    told = refusal(train(f"resume={copy}", "dataset.resized=20"))
    assert told.startswith("dataset.resized: a resumed run keeps its own value; resume= accepts only trainer, logger, ")
    assert refusal(train(f"resume={copy}", "dataset.timeout=0")) == "dataset.timeout=0.0: must be above 0"


def test_an_evaluation_may_decode_otherwise(monkeypatch, run, tmp_path):
    copy, built = copy_of(run, tmp_path / "copy"), []
    init = FileLoader.__init__

    def noted(self, *arguments, **settings):
        built.append((settings["workers"], settings["timeout"]))
        init(self, *arguments, **settings)

    monkeypatch.setattr(FileLoader, "__init__", noted)
    arguments = (f"run={copy}", "trainer=cpu", "name=there", "dataset_workers=1", "dataset_timeout=60")
    assert evaluate_clean(*arguments).code == 0
    assert built == [(1, 60)]


def test_workers_go_with_picture_files(four_epochs):
    told = refusal(evaluate_clean(f"run={four_epochs}", "dataset_workers=2"))
    assert told == "dataset_workers=2: digits has no picture files to decode"
    told = refusal(train(f"resume={four_epochs}", "dataset.workers=2"))
    assert told.startswith("dataset.workers=2: unknown key; ")


@pytest.mark.slow
def test_shared_memory_that_is_too_small_is_one_line_and_the_advice_in_it_helps(tmp_path):
    """Sixteen chunks of 32 images of 224 x 224 on their way are 77 MB."""
    for part, each in (("train", 256), ("test", 2)):
        for name in ("ants", "bees", "wasps"):
            (tmp_path / part / name).mkdir(parents=True)
            picture(len(name)).save(tmp_path / part / name / "0.png")
            for number in range(1, each):
                os.link(tmp_path / part / name / "0.png", tmp_path / part / name / f"{number}.png")
    arguments = ["dataset=image_folder", f"dataset.dir={tmp_path}", "backbone=alexnet", "encoding=rgb",
                 "regime=standard", "epochs=1", "limit_train=700", "batch_size=700", "trainer=cpu",
                 "trainer.progress=false", "dataset.workers=8", "hydra.run.dir=run"]  # fmt: skip
    mount = "mount -t tmpfs -o size=64m tmpfs /dev/shm"
    outcome = with_mounts(mount, ROOT / "train.py", *arguments, cwd=Path.cwd(), warm=True)
    assert outcome.code == 1, outcome.err
    assert "Traceback" not in outcome.err, outcome.err
    (line,) = (each for each in outcome.err.splitlines() if "UserWarning" not in each and each[0] != " ")
    assert line.startswith("error: image_folder/train: a process that decodes images cannot hand them over (")
    assert "/dev/shm has " in line
    assert "MiB left of 64 MiB" in line
    assert "fewer dataset.workers" in line
    status = Run("run").status()
    assert (status["state"], status["exit_code"]) == ("failed", 1)


def test_a_model_is_loaded_without_its_data(run, tmp_path):
    copy = copy_of(run, tmp_path / "copy")
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("data_dir: /", "data_dir: /nowhere/"))
    assert load_run(copy)(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)).shape == (2, 3)


def test_a_stored_run_keeps_how_it_cuts_its_pictures(run, tmp_path):
    """One of a version where that did not follow the image size."""
    copy = copy_of(run, tmp_path / "copy")
    (copy / "config.yaml").write_text((copy / "config.yaml").read_text().replace("resized: 18", "resized: 256"))
    config = Run.open(copy).config()
    assert (config.dataset.image_size, config.dataset.resized) == (16, 256)
    assert build_data(config).folder.view == TestView(16, 256)


def test_what_is_derived_is_stored_as_a_number(data_dir):
    assert train(*(each for each in SETTINGS if "resized" not in each and "epochs" not in each), "epochs=1",
                 f"data_dir={data_dir}", "dataset.workers=0", "hydra.run.dir=run").code == 0  # fmt: skip
    assert "  resized: 16\n" in Path("run/config.yaml").read_text()


def test_a_run_from_before_there_was_a_choice_was_flipped_and_cropped(four_epochs, tmp_path):
    copy = copy_of(four_epochs, tmp_path / "copy")
    lines = (copy / "config.yaml").read_text().splitlines()
    new = ("  augmentation:", "  schedule:", "  milestones:", "  gamma:")
    (copy / "config.yaml").write_text("\n".join(line for line in lines if not line.startswith(new)))
    config, now = Run.open(copy).config(), Run.open(four_epochs).config()
    assert config.dataset.augmentation == "flip_crop"
    assert (config.dataset, config.optim) == (now.dataset, now.optim)


def test_imagenet_c(run, tmp_path):
    copy = copy_of(run, tmp_path / "copy")
    outcome = evaluate(f"run={copy}", "corruption=imagenet_c", "corruption.severities=[2]", "corruption.workers=0",
                       "attack=none", "trainer=cpu", "name=c")  # fmt: skip
    assert outcome.code == 0, outcome.err
    counts = {row["condition"]: row["n"] for row in rows_of(copy / "evaluations" / "c" / "results.csv")}
    assert counts == {"clean": "8", "corruption/fog/2": "9", "corruption/contrast/2": "9"}
    results = json.loads((copy / "evaluations" / "c" / "results.json").read_text())
    assert (results["corruptions"]["source"], results["mce"]) == ("given", None)
    assert "\ncorrupted images: given as ImageNet-C, not verified\n" in outcome.out
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

    imagenet = whole / "imagenet" / "val" / WNIDS[1]
    (imagenet / f"{WNIDS[1]}_0.JPEG").rename(imagenet / f"{WNIDS[1]}_3.JPEG")
    made = ("corruption=generated", "corruption.names=[contrast]", "corruption.severities=[4]",
            f"corruption.dir={tmp_path}/c", "attack=none", "trainer=cpu", f"data_dir={whole}")  # fmt: skip
    assert refusal(evaluate(f"run={copy}", *made)) == (
        f"corruption.dir={tmp_path}/c: not made from the pictures of imagenet's test set (their names or labels differ)"
    )
    told = refusal(corruptions("make", *arguments, f"data_dir={whole}"))
    assert told.startswith(f"out={tmp_path}/c: holds a set made with other settings (test_files=")
    (imagenet / f"{WNIDS[1]}_3.JPEG").rename(imagenet / f"{WNIDS[1]}_0.JPEG")
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("resized: 18", "resized: 20"))
    told = refusal(evaluate(f"run={copy}", *made))
    assert told == f"corruption.dir={tmp_path}/c: made with resized=18, expected 20"


def test_a_set_of_picture_files_lacks_what_cannot_be_read_and_is_measured_without_it(run, data_dir, tmp_path):
    """As the clean images are: eight of nine."""
    made = corruptions("make", "dataset=imagenet", "dataset.image_size=16", "dataset.resized=18", "names=[contrast]",
                       "severities=[4]", f"out={tmp_path}/c", f"data_dir={data_dir}")  # fmt: skip
    assert made.code == 0, made.err
    told = f"1 of 9 images cannot be read and are left out: {TEST_FILE} ("
    assert told in made.err
    assert made.out.startswith("imagenet: 9 pictures; each is read once first\nimagenet: 8 images of 16 x 16")
    manifest = json.loads((tmp_path / "c" / "manifest.json").read_text())
    assert [(each["index"], each["file"]) for each in manifest["unreadable"]] == [(0, TEST_FILE)]
    assert (manifest["classes"], manifest["images"]) == (list(WNIDS), 8)
    copy = copy_of(run, tmp_path / "copy")
    outcome = evaluate(f"run={copy}", "corruption=generated", "corruption.names=[contrast]",
                       "corruption.severities=[4]", f"corruption.dir={tmp_path}/c", "attack=none", "trainer=cpu",
                       "name=stored")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert outcome.err.count(told) == 2  # the clean images and the corrupted ones
    stored = rows_of(copy / "evaluations" / "stored" / "results.csv")
    assert [row["n"] for row in stored] == ["8", "8"]
    outcome = evaluate(f"run={copy}", "corruption=generated", "corruption.names=[contrast]",
                       "corruption.severities=[4]", "attack=none", "trainer=cpu", "name=made")  # fmt: skip
    assert outcome.code == 0, outcome.err
    made = rows_of(copy / "evaluations" / "made" / "results.csv")
    assert [(row["n"], row["n_wrong"]) for row in made] == [(row["n"], row["n_wrong"]) for row in stored]


def test_classes_whose_names_are_no_utf_8(tmp_path):
    """From the training over a set of corrupted images and an evaluation on it to a comparison."""
    pictures = write_latin_1(tmp_path / "pictures")
    damaged = damage(pictures / "test" / LATIN_1[0] / f"{LATIN_1[0]}_0.png")
    where = ["dataset=image_folder", f"dataset.dir={pictures}", "dataset.image_size=16"]
    for seed in (0, 1):
        outcome = train(*where, "backbone=wrn16_1", "encoding=rgb", "regime=standard", "epochs=1", "batch_size=8",
                        "trainer=cpu", "trainer.progress=false", "dataset.workers=0", f"seed={seed}",
                        f"hydra.run.dir=run{seed}")  # fmt: skip
        assert outcome.code == 0, outcome.err
        assert f"1 of 12 images cannot be read and are left out: {damaged} (" in outcome.err
    info = json.loads(Path("run0/run.json").read_text(encoding="utf-8"))
    assert info["classes"] == sorted(LATIN_1)
    assert '"caf\\udce9"' in Path("run0/run.json").read_text(encoding="utf-8")
    made = corruptions("make", *where, "names=[contrast]", "severities=[1]", "out=set")
    assert made.code == 0, made.err
    manifest = json.loads(Path("set/manifest.json").read_text(encoding="utf-8"))
    assert (manifest["classes"], manifest["unreadable"][0]["file"]) == (sorted(LATIN_1), damaged)
    outcome = evaluate("run=run0", "corruption=generated", "corruption.names=[contrast]", "corruption.severities=[1]",
                       "corruption.dir=set", "attack=none", "trainer=cpu", "name=c")  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert [row["n"] for row in rows_of(Path("run0/evaluations/c/results.csv"))] == ["11", "11"]
    assert train("resume=run0").code == 0
    assert load_run("run0")(torch.zeros(1, 3, 16, 16, dtype=torch.uint8)).shape == (1, 3)
    assert check_classes(_data_of("run0"), Run("run1")) is None


def _data_of(run):
    data = build_data(Run.open(run).config())
    data.setup()
    return data


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


def test_an_evaluation_needs_the_test_pictures_alone(run, tmp_path):
    copy = copy_of(run, tmp_path / "copy")
    config = copy / "config.yaml"
    config.write_text(config.read_text().replace("val_size: 0", "val_size: 1000"))
    imagenet = write_imagenet(tmp_path / "other", test=2)
    shutil.rmtree(imagenet / "train")
    outcome = evaluate_clean(f"run={copy}", "trainer=cpu", f"dataset_dir={imagenet}", "name=there")
    assert outcome.code == 0, outcome.err
    assert [row["n"] for row in rows_of(copy / "evaluations" / "there" / "results.csv")] == ["6"]


def test_other_pictures_than_those_a_run_was_started_with(run, tmp_path):
    copy = copy_of(run, tmp_path / "copy")
    info, config = copy / "run.json", copy / "config.yaml"
    noted = json.loads(info.read_text())["files"]
    assert sorted(noted) == ["test", "train"]
    write_imagenet(tmp_path / "other", train=7)
    config.write_text(re.sub("data_dir: .*", f"data_dir: {tmp_path}/other", config.read_text()))
    assert refusal(train(f"resume={copy}")) == (
        f"resume={copy}: imagenet's train pictures are not those that the run was started with "
        "(their names or labels differ)"
    )
    data = build_data(Run.open(copy).config(), training=True)
    data.setup()
    info.write_text(json.dumps({**json.loads(info.read_text()), "files": {**noted, **data.digests()}}))
    check_files(data, Run(copy))
    old = {key: value for key, value in json.loads(info.read_text()).items() if key != "files"}
    info.write_text(json.dumps(old))
    check_files(data, Run(copy))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info, config: (info | {"classes": [*WNIDS[:2], "n0"]}, config),
         "not trained on the classes of imagenet here (2 differ, n0 first)"),
        (lambda info, config: (info, config.replace("image_size: 16", "image_size: 17")),
         "trained with dataset.image_size=17; must be 16"),
    ],
)  # fmt: skip
def test_a_source_of_other_classes_or_sizes_is_refused(run, data_dir, tmp_path, change, message):
    source = copy_of(run, tmp_path / "source")
    info, config = change(json.loads((source / "run.json").read_text()), (source / "config.yaml").read_text())
    (source / "run.json").write_text(json.dumps(info))
    (source / "config.yaml").write_text(config)
    wanted = ("attack=transfer", f"attack.source={source}", "corruption=none")
    told = f"attack.source={source}: {message}"
    assert refusal(evaluate(f"run={run}", *wanted, "trainer=cpu")) == told
    assert refusal(train(*SETTINGS, *wanted, f"data_dir={data_dir}", "hydra.run.dir=run")) == told
    assert not Path("run").exists()


def test_imagenet_c_of_other_pictures_is_refused_before_training(data_dir, tmp_path):
    broken = shutil.copytree(data_dir / "ImageNet-C", tmp_path / "c")
    home = broken / "fog" / "2" / WNIDS[0]
    (home / f"{WNIDS[0]}_2.JPEG").rename(home / f"{WNIDS[0]}_3.JPEG")
    wanted = ("corruption=imagenet_c", "corruption.severities=[2]", f"corruption.dir={broken}")
    told = refusal(train(*SETTINGS, *wanted, f"data_dir={data_dir}", "hydra.run.dir=run"))
    assert f"fog/2 has {WNIDS[0]}/{WNIDS[0]}_3.JPEG where imagenet/test has {WNIDS[0]}/{WNIDS[0]}_2.JPEG" in told
    assert not Path("run").exists()


def test_other_classes_are_refused(run, tmp_path):
    imagenet = write_imagenet(tmp_path / "other")
    for part in ("train", "val"):
        (imagenet / part / WNIDS[0]).rename(imagenet / part / "n00000001")
    told = refusal(evaluate_clean(f"run={run}", "trainer=cpu", f"dataset_dir={imagenet}"))
    assert told == (f"dataset=imagenet: not the classes that {run} was trained on (2 differ, n00000001 first)")


def test_dataset_dir_goes_with_picture_files(four_epochs):
    told = refusal(evaluate_clean(f"run={four_epochs}", "dataset_dir=elsewhere"))
    assert told == "dataset_dir=elsewhere: digits is in data_dir; use data_dir=FOLDER"


def test_nothing_that_can_be_read_is_refused(tmp_path):
    imagenet = write_imagenet(tmp_path / "other", train=2, test=1)
    for file in (imagenet / "train").rglob("*.JPEG"):
        file.write_bytes(b"nothing")
    told = refusal(train(*SETTINGS, f"data_dir={tmp_path}/other", "dataset.workers=0", "hydra.run.dir=run"))
    assert told.startswith("imagenet/train: none of the 6 images can be read: ")


def test_a_missing_folder_is_explained():
    told = refusal(train(*SETTINGS, "data_dir=nowhere", "hydra.run.dir=run"))
    assert told.startswith("dataset=imagenet: no folder nowhere/imagenet; expected ")
    assert not Path("run").exists()


# -- the signals of a batch system, which reach every process of the group --------------------------------------------

DRIVER = """
import importlib, os, signal, sys
from p2be_exp.evaluation.module import EvaluationModule
from p2be_exp.training.module import TrainingModule

def stopping(step, done=[]):
    def stopping_step(self, batch, batch_idx, *loader):
        if batch_idx == 1 and not done:
            done.append(True)
            os.killpg(0, signal.SIGTERM)
        return step(self, batch, batch_idx, *loader)
    return stopping_step

if __name__ == "__main__":
    os.setsid()  # a group of its own, with its workers
    command, stops = sys.argv.pop(1), sys.argv.pop(1) == "stop"
    if stops:
        TrainingModule.training_step = stopping(TrainingModule.training_step)
        EvaluationModule.test_step = stopping(EvaluationModule.test_step)
    raise SystemExit(importlib.import_module(f"p2be_exp.commands.{command}").main())
"""


def drive(command, *arguments, stop):
    script = Path("driver.py")
    script.write_text(DRIVER)
    return finish(start_warm(script, command, "stop" if stop else "go", *map(str, arguments), cwd=Path.cwd()))


@pytest.mark.slow
def test_a_training_that_is_stopped_with_its_workers_goes_on(data_dir, run):
    outcome = drive("train", *SETTINGS, f"data_dir={data_dir}", "dataset.workers=2", "hydra.run.dir=run", stop=True)
    assert outcome.code == 143, outcome.err
    status = Run("run").status()
    assert (status["state"], status["signal"]) == ("interrupted", signal.SIGTERM)
    assert checkpoint_of(Path("run"))["global_step"] == 2
    assert outcome.err.splitlines() == ["", "stopped; to continue: python train.py resume=run"]
    assert train("resume=run").code == 0
    assert_same_run(Path("run"), run)


@pytest.mark.slow
def test_an_evaluation_that_is_stopped_with_its_workers_says_one_line(run, tmp_path):
    copy = copy_of(run, tmp_path / "copy")
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("workers: 0", "workers: 2"))
    arguments = (f"run={copy}", "eval_batch_size=4", "corruption=none", "attack=none", "trainer=cpu", "name=c")
    outcome = drive("evaluate", *arguments, stop=True)
    assert outcome.code == 143, outcome.err
    assert outcome.err.splitlines() == ["", f"stopped; to continue: python evaluate.py {' '.join(arguments)}"]
    assert evaluate(*arguments).code == 0
