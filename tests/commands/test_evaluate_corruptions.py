"""Corruptions through ``evaluate.py`` and ``train.py``: rows, means by hand, stopping and going on, refusals."""

import csv
import hashlib
import json
import os
import shlex
import signal
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import torch
from PIL import Image

import commandline
from commandline import QUICKSTART, copy_of, corruptions, finish, refusal, rows_of, start_warm, train, wait_until
from p2be_exp import load_run
from p2be_exp.config.schema import CifarCConfig, DatasetConfig, TrainConfig
from p2be_exp.corruptions import CATEGORIES, EXTRA, SEVERITIES, TEST, corrupt, find_textures
from p2be_exp.corruptions.names import select_names
from p2be_exp.data import load_dataset
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.source import corrupted_images
from p2be_exp.evaluation.module import EvaluationModule
from p2be_exp.registry import OPTIONS, Option
from published_sets import change_a_byte


def evaluate(*arguments):
    """``evaluate.py`` without attacks."""
    return commandline.evaluate(*arguments, "attack=none")


CELLS = [f"corruption/{name}/{severity}" for name in TEST for severity in SEVERITIES]


@pytest.fixture(scope="session")
def frost_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frost")
    for number, name in enumerate(("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")):
        values = np.random.default_rng(number).integers(256, size=(250, 260, 3)).astype(np.uint8)
        Image.fromarray(values).save(folder / name)
    return folder


@pytest.fixture
def run(workdir, four_epochs):
    return copy_of(four_epochs, workdir / "run")


def without_times(folder: Path):
    """Every file of an evaluation, byte for byte but for times."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.name == "results.json":
            summary = json.loads(file.read_text())
            del summary["written"]
            found[file.name] = summary
        elif file.name == "results.csv":
            found[file.name] = [{k: v for k, v in row.items() if k != "seconds"} for row in rows_of(file)]
        elif file.is_file():
            found[str(file.relative_to(folder))] = file.read_bytes()
    return found


@pytest.fixture(scope="session")
def whole(tmp_path_factory, four_epochs, frost_dir):
    """A complete evaluation of forty images."""
    run = copy_of(four_epochs, tmp_path_factory.mktemp("whole") / "run")
    outcome = evaluate(f"run={run}", "limit_test=40", f"corruption.frost_dir={frost_dir}")
    assert outcome.code == 0, outcome.err
    return run / "evaluations" / "last_clean_generated_random40", outcome


def test_a_row_a_condition(whole):
    folder, _ = whole
    rows = rows_of(folder / "results.csv")
    assert [row["condition"] for row in rows] == ["clean", *CELLS]
    assert list(rows[0]) == [
        "condition", "kind", "name", "severity", "eps_levels", "gradient", "n", "n_wrong", "error", "ci_low", "ci_high",
        "seconds",
    ]  # fmt: skip
    fog = rows[1 + CELLS.index("corruption/fog/3")]
    assert (fog["kind"], fog["name"], fog["severity"], fog["n"]) == ("corruption", "fog", "3", "40")
    assert {file.stem for file in (folder / "per_image").iterdir()} == {r["condition"].replace("/", "-") for r in rows}


def test_the_rows_are_those_of_a_plain_loop(whole, four_epochs, frost_dir):
    folder, _ = whole
    model = load_run(four_epochs)
    _, test = load_dataset("digits", "nowhere")
    textures = find_textures(frost_dir)
    for cell in CELLS[::7]:
        _, name, severity = cell.split("/")
        with np.load(folder / "per_image" / f"{cell.replace('/', '-')}.npz") as saved:
            places = saved["index"]
            clean = test.images.numpy()[places].transpose(0, 2, 3, 1)
            images = corrupt(clean, name, int(severity), dataset="digits", indices=places, textures=textures)
            with torch.no_grad():
                probabilities = model(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()).softmax(1)
            assert saved["label"].tolist() == test.labels[places].tolist()
            assert saved["prediction"].tolist() == probabilities.argmax(1).tolist()
            assert saved["confidence"] == pytest.approx(probabilities.amax(1).numpy(), abs=1e-5)
            assert saved["wrong"].tolist() == (saved["label"] != saved["prediction"]).tolist()
            n_wrong = int(saved["wrong"].sum())
        (row,) = (row for row in rows_of(folder / "results.csv") if row["condition"] == cell)
        assert (int(row["n_wrong"]), float(row["error"])) == (n_wrong, 100 * n_wrong / 40)


def test_the_means_by_hand_from_the_rows(whole):
    folder, outcome = whole
    summary = json.loads((folder / "results.json").read_text())
    errors = {row["condition"]: 100 * int(row["n_wrong"]) / int(row["n"]) for row in rows_of(folder / "results.csv")}
    assert summary["mean_corruption_error"] == pytest.approx(sum(errors[cell] for cell in CELLS) / 75, abs=1e-4)
    section = summary["corruptions"]
    assert section["source"] == "generated"
    for category, names in CATEGORIES.items():
        by_hand = fmean(errors[f"corruption/{name}/{severity}"] for name in names for severity in SEVERITIES)
        assert section["categories"][category]["error"] == pytest.approx(by_hand, abs=1e-4)
    assert (summary["mce"], summary["relative_mce"]) == (None, None)
    assert summary["settings"]["precision"] == "32"
    assert f"{'mean':<32}{'':>40}{summary['mean_corruption_error']:>9.2f}   over 15 of 15 corruptions" in outcome.out
    assert "made here, not the published files" in outcome.out
    for name in ("corruption_heatmap", "corruption_bars", "error_over_severity", "corruptions"):
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_batches_and_workers_change_nothing(run, whole, frost_dir):
    arguments = ["run=run", "limit_test=40", "name=other", "eval_batch_size=7", "corruption.workers=3"]
    assert evaluate(*arguments, f"corruption.frost_dir={frost_dir}", "corruption.names=[noise,frost]").code == 0
    for name in ("gaussian_noise-3", "frost-1", "shot_noise-5"):
        files = [each / "per_image" / f"corruption-{name}.npz" for each in (run / "evaluations" / "other", whole[0])]
        with np.load(files[0]) as one, np.load(files[1]) as other:
            assert one["index"].tolist() == other["index"].tolist()
            assert one["prediction"].tolist() == other["prediction"].tolist()
            assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)


# -- killed and continued ---------------------------------------------------------------------------------------------


DRIVER = """
import time
from p2be_exp.commands.evaluate import main
from p2be_exp.evaluation.module import EvaluationModule

step = EvaluationModule.test_step

def test_step(self, batch, batch_idx, dataloader_idx=0):
    if dataloader_idx == len(self.conditions) - 1:  # it cannot end before the signal comes
        time.sleep(3600)
    step(self, batch, batch_idx, dataloader_idx)

EvaluationModule.test_step = test_step
raise SystemExit(main())
"""


FIVE = "corruption.names=[gaussian_noise,defocus_blur,fog,contrast,jpeg_compression]"


@pytest.fixture(scope="module")
def whole_five(tmp_path_factory, four_epochs):
    """A complete evaluation of forty images under five corruptions."""
    run = copy_of(four_epochs, tmp_path_factory.mktemp("five") / "run")
    assert evaluate(f"run={run}", "limit_test=40", FIVE, "name=five").code == 0
    return run / "evaluations" / "five"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_at_a_moment_of_its_own_choosing_it_ends_with_the_same_files(run, workdir, whole_five, number):
    arguments = ["run=run", "limit_test=40", FIVE, "name=five", "attack=none"]
    folder = run / "evaluations" / "five"
    script = workdir / "driver.py"
    script.write_text(DRIVER)
    process = start_warm(script, *arguments, cwd=workdir)
    wanted = 8 if number == signal.SIGKILL else 16
    wait_until(lambda: len(list(folder.glob("per_image/*.npz"))) >= wanted, process)
    process.send_signal(number)
    outcome = finish(process)
    assert outcome.code == (-number if number == signal.SIGKILL else 128 + number)
    measured = len(rows_of(folder / "results.csv"))
    assert wanted - 1 <= measured < 26
    summary = json.loads((folder / "results.json").read_text())
    assert summary["mean_corruption_error"] is None
    assert "jpeg_compression" in summary["corruptions"]["unfinished"]
    seconds = [row["seconds"] for row in rows_of(folder / "results.csv")]
    assert evaluate(*arguments).code == 0
    assert [row["seconds"] for row in rows_of(folder / "results.csv")][:measured] == seconds  # not measured again
    leftovers = [file.name for file in folder.rglob(".*.part")]
    assert len(leftovers) <= 1
    mine = {name: data for name, data in without_times(folder).items() if ".part" not in name}
    assert mine == without_times(whole_five)


TWO = ("limit_test=40", "eval_batch_size=30", "corruption.names=[fog,contrast]")


@pytest.fixture(scope="module")
def whole_two(tmp_path_factory, four_epochs):
    """A complete evaluation of forty images in two batches under two corruptions."""
    run = copy_of(four_epochs, tmp_path_factory.mktemp("two") / "run")
    assert evaluate(f"run={run}", *TWO, "name=two").code == 0
    return run / "evaluations" / "two"


@pytest.mark.parametrize("after", [1, 2, 7])
def test_stopped_between_and_inside_conditions(run, monkeypatch, whole_two, after):
    arguments = ["run=run", *TWO, "name=two"]
    original, steps = EvaluationModule.test_step, []

    def test_step(self, *arguments):
        original(self, *arguments)
        steps.append(1)
        if len(steps) == after:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(EvaluationModule, "test_step", test_step)
        outcome = evaluate(*arguments)
    assert outcome.code == 130
    line = outcome.err.splitlines()[-1]
    assert line.startswith("stopped; to continue: python evaluate.py ")
    assert evaluate(*shlex.split(line)[5:]).code == 0
    assert without_times(run / "evaluations" / "two") == without_times(whole_two)


def test_the_second_call_adds_nothing(whole, four_epochs, frost_dir, monkeypatch):
    folder, first = whole
    monkeypatch.setattr(EvaluationModule, "test_step", None)
    before = without_times(folder)
    outcome = evaluate(f"run={folder.parents[1]}", "limit_test=40", f"corruption.frost_dir={frost_dir}")
    assert outcome.code == 0, outcome.err
    assert without_times(folder) == before
    assert outcome.out == first.out


# -- which images -----------------------------------------------------------------------------------------------------


def test_frost_alone_without_textures_is_refused_before_anything_is_trained_or_measured(run, workdir, monkeypatch):
    monkeypatch.setattr("p2be_exp.corruptions.textures.find_textures", lambda *_, **__: None)
    frost = ("corruption=generated", "corruption.names=[frost]")
    told = refusal(train(*QUICKSTART, *frost, "hydra.run.dir=new"))
    assert told == (
        "corruption.names=[frost]: none of them can be measured (frost: no textures; set corruption.frost_dir)"
    )
    assert not (workdir / "new").exists()
    assert refusal(evaluate(f"run={run}", *frost)) == told
    assert not (run / "evaluations").exists()
    for command in ("make", "preview"):
        said = refusal(corruptions(command, "dataset=digits", "names=[frost]", "out=made"))
        assert said.startswith("names=[frost]: no textures; give frost_dir=FOLDER")
    assert not (workdir / "made").exists()


def test_published_files_that_have_none_of_what_is_asked_for_are_refused(workdir, published):
    labels = np.tile(load_dataset("digits", ".")[1].labels.numpy().astype(np.uint8), 5)
    (workdir / "c").mkdir()
    np.save(workdir / "c" / "labels.npy", labels)
    np.save(workdir / "c" / "fog.npy", np.zeros((len(labels), 32, 32, 3), dtype=np.uint8))
    published(workdir / "c")
    with pytest.raises(BadInput, match=r"^corruption\.names=\[snow\]: none of them can be measured \(snow: not in"):
        corrupted_images(
            TrainConfig(
                corruption=CifarCConfig("cifar_c", dir="c", names=["snow"], severities=[1]),
                dataset=DatasetConfig("cifar10"),
                data_dir=".",
            )
        )


def test_without_textures_frost_is_left_out_and_said_beside_the_mean(run, monkeypatch):
    monkeypatch.setattr("p2be_exp.corruptions.textures.find_textures", lambda *_, **__: None)
    outcome = evaluate("run=run", "limit_test=20", "corruption.names=weather", "corruption.severities=[2]")
    assert outcome.code == 0, outcome.err
    folder = run / "evaluations" / "last_clean_generated_weather_severity2_random20"
    assert [row["name"] for row in rows_of(folder / "results.csv")] == ["", "snow", "fog", "brightness"]
    summary = json.loads((folder / "results.json").read_text())
    assert summary["corruptions"]["left_out"] == {"frost": "no textures; set corruption.frost_dir"}
    assert "frost left out: no textures; set corruption.frost_dir" in outcome.out
    assert "over 3 of 15 corruptions x 1 of 5 severities" in outcome.out


def unsure(run: Path) -> Path:
    """The run with its logits scaled to a range of 1: a network of sixteen steps may be sure of everything."""
    file = run / "checkpoints" / "last.ckpt"
    saved = torch.load(file, weights_only=True)
    spread = np.ptp(load_run(run)(load_dataset("digits", "nowhere")[1].images[:30]).detach().numpy())
    for name in ("weight", "bias"):
        saved["state_dict"][f"model.trunk.classifier.{name}"] /= float(spread)
    torch.save(saved, file)
    return run


def test_a_stored_set_and_the_fly_give_the_same_rows(run, workdir):
    unsure(run)
    arguments = ["run=run", "limit_test=30", "corruption=generated", "corruption.names=[fog,spatter]"]
    make = ["dataset=digits", "out=set", "names=[fog,spatter]", "severities=[1,4]", "limit_test=30"]
    assert corruptions("make", *make).code == 0
    assert evaluate(*arguments, "name=fly").code == 0
    assert evaluate(*arguments, "corruption.dir=set", "name=stored").code == 0
    fly, stored = (without_times(run / "evaluations" / name) for name in ("fly", "stored"))
    assert len(fly["results.csv"]) == 1 + 5 * 2
    assert fly == stored
    # The stored files are what is read: other images, other rows; and only those of which the manifest knows.
    images = np.load("set/fog.npy", mmap_mode="r+")
    images[:] = 0
    images.flush()
    said = refusal(evaluate(*arguments, "corruption.dir=set", "name=damaged"))
    assert said == (
        "corruption.dir=set: fog.npy is damaged (severity 1 is not what manifest.json says); "
        "remove it and make it again"
    )
    manifest = json.loads(Path("set/manifest.json").read_text())
    for place, severity in enumerate((1, 4)):
        block = images[30 * place : 30 * (place + 1)].tobytes()
        manifest["blocks"][f"fog/{severity}"]["sha256"] = hashlib.sha256(block).hexdigest()
    Path("set/manifest.json").write_text(json.dumps(manifest))
    assert evaluate(*arguments, "corruption.dir=set", "name=black").code == 0
    black = {row["condition"]: row for row in rows_of(run / "evaluations" / "black" / "results.csv")}
    for severity, rows in ((1, black), (2, fly)):
        with np.load(run / "evaluations" / "black" / "per_image" / f"corruption-fog-{severity}.npz") as saved:
            assert (np.ptp(saved["confidence"]) < 1e-5) == (rows is black)  # one image thirty times


@pytest.fixture
def cifar_run(run, monkeypatch):
    """A run whose data set, for the time of a test, is called cifar10."""
    monkeypatch.setitem(OPTIONS["dataset"], "cifar10", digits_by_another_name())
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("name: digits", "name: cifar10\n  download: false"))
    return run


@pytest.fixture
def noise_set(workdir):
    """A made-up CIFAR-10-C of two corruptions."""
    folder = workdir / "data" / "CIFAR-10-C"
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for name in ("fog", "snow"):
        np.save(folder / f"{name}.npy", numbers.integers(256, size=(2500, 32, 32, 3), dtype=np.uint8))
    _, test = load_dataset("digits", "nowhere")
    np.save(folder / "labels.npy", np.tile(test.labels.numpy(), 5).astype(np.uint8))
    return folder


def test_a_published_folder_is_found_and_said(cifar_run, noise_set, published):
    published(noise_set)
    outcome = evaluate("run=run", "limit_test=25", "corruption.names=weather")
    assert outcome.code == 0, outcome.err
    assert "\ncorrupted images: the published files\n" in outcome.out
    assert "corruption=auto" not in outcome.out
    results = cifar_run / "evaluations" / "last_clean_cifar_c_weather_random25"
    summary = json.loads((results / "results.json").read_text())
    assert (summary["corruptions"]["source"], summary["corruptions"]["identical"]) == ("official", ["snow", "fog"])
    assert set(summary["corruptions"]["left_out"]) == {"frost", "brightness"}
    assert (summary["mce"], summary["settings"]["corruption"]["name"]) == (None, "cifar_c")
    model = load_run(cifar_run)
    with np.load(results / "per_image" / "corruption-snow-4.npz") as saved:
        images = np.load(noise_set / "snow.npy")[3 * 500 + saved["index"]]
        with torch.no_grad():
            predictions = model(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()).argmax(1)
        assert saved["prediction"].tolist() == predictions.tolist()
    # Other labels than the test set's: refused before anything is measured.
    np.save(noise_set / "labels.npy", np.zeros(2500, np.uint8))
    published(noise_set)
    message = refusal(evaluate("run=run", "limit_test=25", "name=again"))
    assert message == "corruption.dir=data/CIFAR-10-C: labels.npy does not have the labels of cifar10's test set"
    assert not (cifar_run / "evaluations" / "again").exists()


def test_files_that_are_not_the_published_ones_are_refused_as_such(cifar_run, noise_set, published, workdir):
    """Somebody's own folder, and one byte of a published file."""
    arguments = ["run=run", "limit_test=25", "corruption=cifar_c", "corruption.names=[fog,snow]", "name=c"]
    assert "labels.npy is not the published file" in refusal(evaluate(*arguments))
    published(noise_set)
    change_a_byte(noise_set / "fog.npy")
    message = refusal(evaluate(*arguments))
    assert message.startswith("corruption.dir=data/CIFAR-10-C: fog.npy is not the published file (its md5 is ")
    assert message.endswith(
        "); get the archive again (python -m p2be_exp.corruptions fetch cifar10), or use corruption=own "
        "corruption.dir=data/CIFAR-10-C"
    )
    assert not (cifar_run / "evaluations").exists()
    training = [word for word in QUICKSTART if word != "corruption=none"]
    assert refusal(train(*training, "dataset=cifar10", "corruption=cifar_c", "hydra.run.dir=new")) == message
    assert not (workdir / "new").exists()
    outcome = evaluate("run=run", "limit_test=25", "corruption.names=[fog]", "corruption.severities=[1]", "name=auto")
    assert outcome.code == 0, outcome.err
    assert (
        "corruption=auto: generated, not the published files (data/CIFAR-10-C: fog.npy is not the published file"
        in outcome.out
    )
    assert "\ncorrupted images: made here, not the published files\n" in outcome.out


def test_own_files_are_called_so(cifar_run, noise_set):
    arguments = ["run=run", "limit_test=25", "corruption=own", f"corruption.dir={noise_set}"]
    outcome = evaluate(*arguments, "corruption.names=[fog,brightness]", "name=own")
    assert outcome.code == 0, outcome.err
    assert "\ncorrupted images: own files\n" in outcome.out
    summary = json.loads((cifar_run / "evaluations" / "own" / "results.json").read_text())
    files = {name: hashlib.sha256((noise_set / f"{name}.npy").read_bytes()).hexdigest() for name in ("labels", "fog")}
    assert summary["settings"]["corruption"] == {
        "name": "own", "names": ["fog", "brightness"], "severities": [1, 2, 3, 4, 5], "files": files,
    }  # fmt: skip
    section = summary["corruptions"]
    assert (section["source"], section["identical"], summary["mce"]) == ("own", [], None)
    assert set(section["left_out"]) == {"brightness"}
    # An evaluation of other bytes is another one.
    change_a_byte(noise_set / "fog.npy")
    message = refusal(evaluate(*arguments, "corruption.names=[fog,brightness]", "name=own"))
    assert message.startswith("name=own: holds results of other settings (corruption=")


@pytest.mark.parametrize("source", ["own", "cifar_c"])
def test_a_set_that_is_not_whole_is_refused_in_one_line(cifar_run, noise_set, source):
    fog = np.load(noise_set / "fog.npy")
    arguments = ["run=run", "limit_test=25", f"corruption={source}", f"corruption.dir={noise_set}", "name=broken"]
    for array, told in (
        (fog[:500], "500 images, labels.npy has 2500"),
        (fog.astype(np.float32) / 255, "float32 (2500, 32, 32, 3), expected uint8 (2500, H, W, 3)"),
        (fog.transpose(0, 3, 1, 2), "uint8 (2500, 3, 32, 32), expected uint8 (2500, H, W, 3)"),
    ):
        np.save(noise_set / "fog.npy", array)
        assert refusal(evaluate(*arguments)) == f"corruption.dir={noise_set}: fog.npy: {told}"
    (noise_set / "fog.npy").write_bytes((noise_set / "snow.npy").read_bytes()[:-1])
    told = "fog.npy: truncated, or not an array file of NumPy"
    assert refusal(evaluate(*arguments)) == f"corruption.dir={noise_set}: {told}"
    (noise_set / "labels.npy").unlink()
    assert refusal(evaluate(*arguments)) == f"corruption.dir={noise_set}: labels.npy is missing"
    assert not (cifar_run / "evaluations").exists()


DETERMINISTIC = (
    "brightness", "contrast", "defocus_blur", "gaussian_blur", "jpeg_compression", "pixelate", "saturate", "zoom_blur",
)  # fmt: skip


@pytest.mark.slow
def test_the_rows_of_published_files_are_those_of_the_same_images_made_here(cifar_run, workdir, published):
    names = f"corruption.names=[{','.join(DETERMINISTIC)}]"
    arguments = ["run=run", "limit_test=30", names, "corruption.severities=[5]"]
    made = corruptions("make", "dataset=cifar10", "out=made", f"names=[{','.join(DETERMINISTIC)}]")
    assert made.code == 0, made.err
    folder = workdir / "made"
    (folder / "manifest.json").rename(workdir / "manifest.json")
    published(folder)
    outcomes = [evaluate(*arguments, "corruption=cifar_c", "corruption.dir=made", "name=published")]
    (workdir / "manifest.json").rename(folder / "manifest.json")
    outcomes.append(evaluate(*arguments, "corruption=generated", "corruption.dir=made", "name=stored"))
    outcomes.append(evaluate(*arguments, "corruption=generated", "name=fly"))
    assert [outcome.code for outcome in outcomes] == [0, 0, 0], [outcome.err for outcome in outcomes]
    of_published, *of_generated = (without_times(cifar_run / "evaluations" / o) for o in ("published", "stored", "fly"))
    for found in of_generated:
        assert found["results.csv"] == of_published["results.csv"]
        assert found["results.json"]["corruptions"]["identical"] == list(select_names(DETERMINISTIC))
        for name in of_published:
            assert not name.startswith("per_image") or found[name] == of_published[name]
    assert len(of_published["results.csv"]) == 1 + 8
    assert "\ncorrupted images: the published files\n" in outcomes[0].out
    for outcome in outcomes[1:]:
        assert "corrupted images: 8 of 8 corruptions identical to the published files, made here" in outcome.out


def digits_by_another_name() -> Option:
    """The option cifar10, of which the images are the digits."""
    return replace(OPTIONS["dataset"]["cifar10"], makes=OPTIONS["dataset"]["digits"].makes)


# -- training ends with it --------------------------------------------------------------------------------------------


def test_training_ends_with_the_corruptions(workdir):
    arguments = [argument for argument in QUICKSTART if argument != "corruption=none"]
    outcome = train(
        *arguments, "encoding.M=8", "corruption.names=[fog,saturate]", "corruption.severities=[5]", "hydra.run.dir=run"
    )
    assert outcome.code == 0, outcome.err
    rows = rows_of(workdir / "run" / "results.csv")
    assert [row["condition"] for row in rows] == ["clean", "corruption/fog/5", "corruption/saturate/5"]
    summary = json.loads((workdir / "run" / "results.json").read_text())
    assert summary["mean_corruption_error"] == float(rows[1]["error"])
    assert summary["corruptions"]["extra"]["error"] == float(rows[2]["error"])
    assert (workdir / "run" / "figures" / "corruption_heatmap.png").exists()
    arguments = ["corruption.names=[fog,saturate]", "corruption.severities=[5]"]
    assert evaluate("run=run", "limit_test=40", *arguments).code == 0
    again = rows_of(next((workdir / "run" / "evaluations").glob("*/results.csv")))
    assert [row["n_wrong"] for row in again] == [row["n_wrong"] for row in rows]


def test_training_says_why_the_images_are_made_here(workdir, monkeypatch):
    monkeypatch.setitem(OPTIONS["dataset"], "cifar10", digits_by_another_name())
    arguments = [argument for argument in QUICKSTART if argument != "corruption=none"]
    cell = ("epochs=1", "corruption=auto", "corruption.names=[fog]", "corruption.severities=[5]")
    outcome = train(*arguments, "dataset=cifar10", *cell, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("corruption=auto: generated, not the published files (no data/CIFAR-10-C)\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["corruption.names=fogg"], "corruption.names=fogg: must be one of test, extra, all, noise,"),
        (["corruption.severities=[6]"], "corruption.severities=[6]: must be between 1 and 5"),
        (["corruption.severities=[]"], "corruption.severities=[]: at least one severity is needed"),
        (["corruption.names=[]"], "corruption.names=[]: at least one corruption is needed"),
        (["corruption.frost_dir=nowhere"], "corruption.frost_dir=nowhere: no such folder"),
        (["corruption=generated", "corruption.dir=nowhere"], "corruption.dir=nowhere: no such folder"),
        (["corruption=generated", "corruption.workers=0"], "corruption.workers=0: must be 1 or more"),
        (["corruption=generated", "corruption.seed=-1"], "corruption.seed=-1: must be between 0 and 4294967295"),
        (["corruption=cifar_c"], "corruption=cifar_c: requires dataset=cifar10 or cifar100, not digits"),
        (["corruption=imagenet_c"], "corruption=imagenet_c: requires dataset=imagenet, not digits"),
        (["corruption=own"], "corruption.dir: required by corruption=own; a folder"),
        (["corruption=own", "corruption.dir=nowhere"], "corruption.dir=nowhere: no such folder"),
        (["corruption=nosuch"], "corruption=nosuch: no such corruption; available: auto, cifar_c,"),
        (
            ["corruption.dir=set"],
            "corruption.dir=set: unknown key; it belongs to corruption=cifar_c or imagenet_c or own or generated",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(workdir, run, arguments, message):
    before = sorted(workdir.rglob("*"))
    assert refusal(evaluate("run=run", *arguments)).startswith(message)
    assert sorted(workdir.rglob("*")) == before


def test_bad_input_is_answered_before_training(workdir):
    arguments = [argument for argument in QUICKSTART if argument != "corruption=none"]
    assert refusal(train(*arguments, "corruption.dir=nowhere")) == "corruption.dir=nowhere: no such folder"
    assert list(workdir.iterdir()) == []


def test_a_stored_set_of_something_else(run, workdir):
    assert (
        corruptions("make", "dataset=digits", "out=set", "names=fog", "severities=[1]", "limit_test=30", "seed=4").code
        == 0
    )
    arguments = ["run=run", "corruption=generated", "corruption.names=fog", "corruption.dir=set"]
    assert refusal(evaluate(*arguments)) == "corruption.dir=set: made with seed=4, expected 0"
    message = refusal(evaluate(*arguments, "corruption.seed=4"))
    assert message == "corruption.dir=set: 30 images per severity, not the test images"
    assert evaluate(*arguments, "corruption.seed=4", "limit_test=30").code == 0
    manifest = Path("set/manifest.json")
    manifest.unlink()
    assert "use corruption=cifar_c for the published files" in refusal(evaluate(*arguments, "corruption.seed=4"))


def test_rows_are_csv(whole):
    with (whole[0] / "results.csv").open(newline="") as file:
        assert all(len(row) == 12 for row in csv.reader(file))
    assert EXTRA[0] not in (whole[0] / "results.csv").read_text()
