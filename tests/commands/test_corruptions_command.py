"""``python -m p2be_exp.corruptions``: what it writes and prints, stopping, refusals in one line."""

import json
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commandline import corruptions, finish, refusal, start_warm, wait_until
from p2be_exp.corruptions import ALL, corrupt, make
from p2be_exp.corruptions.published import FILES
from p2be_exp.corruptions.store import StoredSet
from p2be_exp.data import load_dataset
from pictures import LATIN_1, write_latin_1

MAKE = ("make", "dataset=digits", "out=set", "limit_test=30")


@pytest.fixture(autouse=True)
def empty_folder(workdir):
    return workdir


def manifest():
    return json.loads(Path("set/manifest.json").read_text())


def test_help_and_list():
    outcome = corruptions("--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == corruptions().out
    for part in ("cifar10 cifar100 digits", "names: test", "frost_dir: null", "image: 0", "CIFAR-10-C"):
        assert part in outcome.out
    described = [line.split()[0] for line in outcome.out.splitlines() if line.strip() and line[:1].isalpha()]
    for command in ("make", "fetch", "verify", "preview", "list"):
        assert described.count(command) == 1
        assert f"  python -m p2be_exp.corruptions {command}" in outcome.out
    listed = corruptions("list").out.splitlines()
    for name in ALL:
        assert sum(line.startswith(f"{name} ") for line in listed) == 2
    assert "fog                 weather   0.2,3  0.5,3  0.75,2.5  1,2  1.5,1.75" in listed
    assert len(corruptions("list", "names=noise").out.splitlines()) == 2 * 5


def test_make_writes_a_set_that_says_what_it_is(monkeypatch):
    monkeypatch.setattr("p2be_exp.corruptions.textures.find_textures", lambda *_, **__: None)
    outcome = corruptions(*MAKE, "names=[weather,saturate]", "severities=[2,1]", "workers=2")
    assert outcome.code == 0, outcome.err
    assert "digits: 30 images of 32 x 32, 5 corruptions, severities 1, 2, into set" in outcome.out
    assert "fog: 60 images, " in outcome.out
    assert "frost left out: no textures; give frost_dir=FOLDER" in outcome.out
    stored = StoredSet("set", "out")
    assert (stored.names, stored.severities, len(stored)) == (("snow", "fog", "brightness", "saturate"), (1, 2), 30)
    _, test = load_dataset("digits", "nowhere")
    clean = test.images.numpy()[stored.indices].transpose(0, 2, 3, 1)
    for name in stored.names:
        for severity in (1, 2):
            made = corrupt(clean, name, severity, dataset="digits", indices=stored.indices)
            assert np.array_equal(stored.block(name, severity), made)
    assert corruptions(*MAKE, "names=[weather,saturate]", "severities=[1,2]").code == 0


def test_make_tells_which_files_are_the_published_ones(monkeypatch, published):
    command = ("make", "dataset=digits", "out=set", "names=[brightness,pixelate,fog]")
    assert ".npy: " not in corruptions(*command).out
    published(Path("set"), "digits")
    monkeypatch.setitem(FILES["digits"], "fog", "0" * 32)  # a random one
    monkeypatch.setitem(FILES["digits"], "pixelate", "0" * 32)  # as if it came out otherwise here
    outcome = corruptions(*command)
    assert [line for line in outcome.out.splitlines() if ".npy: " in line] == [
        "brightness.npy: identical to the published file",
        "pixelate.npy: not the published file (other versions of the packages in manifest.json reproduced it)",
        "labels.npy: identical to the published file",
    ]
    assert manifest()["identical_to_the_published_file"] == ["brightness", "labels"]
    assert ".npy: " not in corruptions(*command[:2], "out=part", "names=[fog,pixelate]", "limit_test=9").out


def test_a_folder_of_pictures():
    for number in range(3):
        values = np.random.default_rng(number).integers(256, size=(40, 50, 3)).astype(np.uint8)
        Path("birds/wren").mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(f"birds/wren/{number}.png")
    assert corruptions("make", "folder=birds", "size=28", "out=set", "names=pixelate", "severities=[5]").code == 0
    assert np.load("set/pixelate.npy").shape == (3, 28, 28, 3)
    assert manifest()["dataset"] == "birds"
    assert corruptions("preview", "folder=birds", "out=birds.png", "names=noise", "image=2").code == 0
    assert "must be between 0 and 2" in refusal(corruptions("preview", "folder=birds", "image=3"))


def test_a_folder_whose_name_is_no_utf_8(monkeypatch, tmp_path):
    folder = write_latin_1(tmp_path) / "test" / LATIN_1[0]
    monkeypatch.chdir(folder)
    outcome = corruptions(
        "make", "folder=.", "size=16", f"out={tmp_path}/set", "names=gaussian_noise", "severities=[1]"
    )
    assert outcome.code == 0, outcome.err
    made = json.loads((tmp_path / "set" / "manifest.json").read_text(encoding="utf-8"))
    assert (made["dataset"], made["classes"], made["images"]) == (LATIN_1[0], [LATIN_1[0]], 4)
    assert corruptions("preview", "folder=.", "size=16", f"out={tmp_path}/p.png", "names=fog").code == 0


def test_what_cannot_be_read_is_known_before_anything_is_written(workdir):
    for name in ("auk", "wren"):
        Path("birds", name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (40, 40), (number, 0, 0)).save(f"birds/{name}/{number}.png")
    Path("birds/auk/._1.png").write_bytes(b"resource fork")
    Path("birds/.ipynb_checkpoints").mkdir()
    make = ("make", "folder=birds", "out=set", "names=contrast", "severities=[1]")
    for file in Path("birds").rglob("[01].png"):
        file.write_bytes(b"nothing" + file.read_bytes())
    assert "none of the 4 images can be read" in refusal(corruptions(*make))
    assert not Path("set").exists()
    for file in Path("birds").rglob("[01].png"):
        if file.parent.name == "wren" or file.name == "0.png":
            file.write_bytes(file.read_bytes().removeprefix(b"nothing"))
    outcome = corruptions(*make)
    assert outcome.code == 0, outcome.err
    assert outcome.err.startswith("warning: birds: 1 of 4 images cannot be read and are left out: auk/1.png (")
    assert "birds: 3 images of 40 x 40" in outcome.out
    assert (manifest()["classes"], manifest()["images_of_the_data_set"]) == (["auk", "wren"], 4)
    assert np.load("set/labels.npy").tolist() == [0, 1, 1]
    assert np.load("set/indices.npy").tolist() == [0, 2, 3]


@pytest.mark.usefixtures("rendered")
def test_preview():
    outcome = corruptions("preview", "dataset=digits", "names=[fog,blur]", "severities=[1,5]", "image=3")
    assert outcome.code == 0, outcome.err
    assert outcome.out == "corruptions.png: 5 corruptions of image 3 of digits\n"
    with Image.open("corruptions.png") as picture:
        assert min(picture.size) > 200


DRIVER = """
import time
from p2be_exp.commands.corruptions import main
from p2be_exp.corruptions import make

sha256_of, blocks = make.sha256_of, []

def waiting(array):
    blocks.append(len(array))
    if len(blocks) > 20:  # it cannot end before the signal comes
        time.sleep(3600)
    return sha256_of(array)

make.sha256_of = waiting
raise SystemExit(main())
"""


@pytest.mark.slow
def test_a_signal_stops_it_and_the_line_that_it_says_goes_on(workdir):
    arguments = ["make", "dataset=digits", "out=set", "names=[noise,contrast,pixelate]", "workers=1"]
    script = workdir / "driver.py"
    script.write_text(DRIVER)
    process = start_warm(script, *arguments, cwd=workdir)
    wait_until(Path("set/gaussian_noise.npy").exists, process)
    process.send_signal(signal.SIGTERM)
    outcome = finish(process)
    assert outcome.code == 143, outcome.err
    said = outcome.err.splitlines()[-1]
    assert said == f"stopped; to continue: python -m p2be_exp.corruptions {' '.join(map(shlex.quote, arguments))}"
    before = manifest()["blocks"]
    assert 5 <= len(before) < 25
    assert corruptions(*arguments).code == 0
    after = manifest()["blocks"]
    assert len(after) == 25
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mak"], "mak: not a command; available: make, fetch, verify, preview, list; did you mean make?"),
        (["make", "-m"], "-m: not a flag; the command takes KEY=VALUE (see --help)"),
        (["make", "dataset=digits"], "out: required; the folder to write to, out=FOLDER"),
        ([*MAKE, "names=fogg"], "names=fogg: must be one of test, extra, all, noise,"),
        ([*MAKE, "names=[]"], "names=[]: at least one corruption is needed"),
        ([*MAKE, "severities=[0]"], "severities=[0]: must be between 1 and 5"),
        ([*MAKE, "severities=two"], "severities=two: "),
        ([*MAKE, "workers=0"], "workers=0: must be 1 or more"),
        ([*MAKE, "seed=-1"], "seed=-1: must be between 0 and 4294967295"),
        ([*MAKE, "limit_test=501"], "limit_test=501: must be between 1 and 500 (there are 500 test images)"),
        ([*MAKE, "size=32"], "size=32: requires folder=; data sets are corrupted as they are"),
        ([*MAKE, "dataset=mnits"], "dataset=mnits: no such dataset; available: caltech101, caltech256, cifar10, "),
        ([*MAKE, "frost_dir=nowhere"], "frost_dir=nowhere: no such folder"),
        ([*MAKE, "foo=1"], "foo=1: unknown key"),
        (["make", "folder=nowhere", "out=set"], "folder=nowhere: no such folder"),
        (["preview", "dataset=digits", "image=500"], "image=500: must be between 0 and 499"),
        (["make", "dataset=cifar10", "dataset.download=false", "out=set"], "dataset=cifar10: "),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(workdir, arguments, message):
    assert refusal(corruptions(*arguments)).startswith(message)
    assert list(workdir.iterdir()) == []


def test_a_failure_while_making_is_no_bad_input(monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setattr(make, "corrupt", failing)
    outcome = corruptions(*MAKE, "names=fog")
    assert outcome.code == 1
    assert "RuntimeError: broken" in outcome.err
