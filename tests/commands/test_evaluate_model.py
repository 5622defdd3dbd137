"""``evaluate.py model=FILE.py:NAME``: a file of one's own builds the network; refusals are one line."""

import hashlib
import json

import numpy as np
import pytest

from commandline import evaluate, refusal

FILE = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 10))


class Rounds(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pictures):
        return self.network((pictures * 15).round() / 15)


def blind():
    return Rounds(build())


def helped():
    return {"model": Rounds(build()), "surrogate": build()}


def of_levels():
    return {"model": build(), "input": "levels"}


def unknown_key():
    return {"model": build(), "levels": True}


def no_model():
    return {"input": "levels"}


def number():
    return 3


def twelve():
    return nn.Sequential(build(), nn.Linear(10, 12))


def fails():
    raise FileNotFoundError("weights.pt")


constant = 3
"""

CLEAN = ("dataset=digits", "limit_test=12", "attack=none", "trainer=cpu")
SHORT = ("dataset=digits", "limit_test=12", "attack=suite_short", "attack.steps=2", "attack.queries=2", "trainer=cpu")


@pytest.fixture
def file(workdir):
    (workdir / "net.py").write_text(FILE)
    return workdir / "net.py"


def settings_of(folder):
    return json.loads((folder / "results.json").read_text())["settings"]


def test_a_network_is_attacked_and_its_results_say_what_it_is(workdir, file):
    outcome = evaluate("model=net.py:build", *SHORT)
    assert outcome.code == 0, outcome.err
    folder = workdir / "logs" / "evaluate" / "net" / "digits_clean_suite_short8_random12"
    assert {each.name for each in folder.iterdir()} >= {"results.csv", "results.json", "per_image", "figures"}
    assert "attack/pgd_margin_secant/8" in outcome.out
    assert "can these numbers be trusted?" in outcome.out
    settings = settings_of(folder)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    model = {"name": "net", "file": "net.py", "function": "build", "sha256": digest}
    assert {key: settings["model"][key] for key in model} == model
    assert (settings["dataset"], settings["attack"]["steps"], settings["model"]["input"]) == ("digits", 2, "unit")


def test_the_same_command_continues_and_a_changed_file_is_refused(workdir, file):
    assert evaluate("model=net.py", *CLEAN, "name=mine").code == 0
    folder = workdir / "logs" / "evaluate" / "net" / "mine"
    rows, written = (folder / "results.csv").read_bytes(), (folder / "per_image" / "clean.npz").stat().st_mtime_ns
    again = evaluate("model=net.py", *CLEAN, "name=mine")
    assert again.code == 0
    assert "clean                                 12" in again.out
    assert (folder / "results.csv").read_bytes() == rows
    assert (folder / "per_image" / "clean.npz").stat().st_mtime_ns == written
    file.write_text(FILE.replace("manual_seed(0)", "manual_seed(1)"))
    assert refusal(evaluate("model=net.py", *CLEAN, "name=mine")).startswith(
        "name=mine: holds results of other settings"
    )


def test_another_function_and_a_folder_of_one_s_own(workdir, file):
    assert evaluate("model=net.py:of_levels", *CLEAN).code == 0
    assert evaluate("model=net.py:build", *CLEAN, "out=results").code == 0
    of_levels = workdir / "logs" / "evaluate" / "net_of_levels" / "digits_clean_random12"
    assert settings_of(of_levels)["model"]["input"] == "levels"
    with np.load(of_levels / "per_image" / "clean.npz") as one, np.load("results/per_image/clean.npz") as other:
        assert np.array_equal(one["index"], other["index"])
        assert not np.array_equal(one["confidence"], other["confidence"])


def test_a_surrogate_of_one_s_own(workdir, file):
    outcome = evaluate("model=net.py:helped", *SHORT, "name=mine")
    assert outcome.code == 0, outcome.err
    assert "gradient surrogate" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=net.py", "run=run"], "run=run: not with model=net.py, a network without a run"),
        (["model=net.py", "checkpoint=best"], "checkpoint=best: not with model=net.py, a network without a run"),
        (["model=net.py", "model=net.py:blind"], "model=net.py:blind: given twice; only one network is evaluated"),
        (["model=other.py"], "model=other.py: no such file"),
        (["model="], "model=: must be FILE.py:NAME"),
        (["model=net.py:"], "model=net.py:: must be FILE.py:NAME"),
        (["model=net.txt:build"], "model=net.txt:build: must be a Python file"),
        (["model=net.py:nowhere"], "model=net.py:nowhere: net.py has no function nowhere"),
        (["model=net.py:constant"], "model=net.py:constant: net.py has no function constant"),
        (["model=net.py:fails"], "model=net.py:fails: fails() fails (FileNotFoundError: weights.pt)"),
        (["model=net.py:number"], "model: int, must be a torch.nn.Module"),
        (["model=net.py:unknown_key"], "model=net.py:unknown_key: returns 'levels'; the keys are model, encoding, "),
        (["model=net.py:no_model"], "model=net.py:no_model: returns a mapping without 'model'"),
        (["model=net.py:twelve"], "model=net.py:twelve: outputs of shape (4, 12); must be logits, (4, 10)"),
        (["model=net.py:blind", "attack=pgd"], "model=net.py:blind: no gradient reaches the image"),
        (["model=broken.py"], "model=broken.py: cannot be imported (SyntaxError: "),
        (["model=run/net.py"], "model=run/net.py: inside a run folder; nothing there is imported"),
        (["model=net.py", "dataset=digit"], "dataset=digit: no such dataset; available: "),
        (["model=net.py", "epochs=3"], "epochs=3: unknown key; it belongs to train.py"),
        (
            ["model=net.py", "corruption=cifar_c"],
            "corruption=cifar_c: requires dataset=cifar10 or cifar100, not digits",
        ),
        (["model=net.py", "attack=pgd", "attack.eps_levels=0.031"], "attack.eps_levels=0.031: must be a whole number"),
        (["model=net.py", "out=x", "name=y"], "out=x: replaces name=y; give only one of them"),
        (["model=net.py", "name=a/b"], "name=a/b: must be the name of a folder, which will be in logs/evaluate/net/"),
        (["model=net.py", "out=run"], "out=run: holds net.py, which no evaluation wrote"),
        (
            ["model=net.py", "hydra.run.dir=x"],
            "hydra.run.dir=x: is for train.py; evaluate.py model=FILE.py has no keys",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(workdir, file, arguments, message):
    (workdir / "run").mkdir()
    (workdir / "run" / "run.json").write_text("{}")
    (workdir / "run" / "net.py").write_text(FILE)
    (workdir / "broken.py").write_text("def build(:\n")
    before = sorted(path for path in workdir.rglob("*") if "__pycache__" not in path.parts)
    assert refusal(
        evaluate(*arguments, *[each for each in CLEAN if each.split("=")[0] not in str(arguments)])
    ).startswith(message)
    after = sorted(path for path in workdir.rglob("*") if "__pycache__" not in path.parts)
    assert after == before


def test_a_key_of_the_other_kind_of_evaluation_is_named(workdir, four_epochs):
    message = refusal(evaluate(f"run={four_epochs}", "dataset=digits"))
    assert message.startswith("dataset=digits: unknown key; it belongs to train.py or evaluate.py model=FILE.py")


def test_help_says_how():
    outcome = evaluate("--help")
    assert "model=my_model.py:build dataset=cifar10 attack=suite" in outcome.out
    assert "docs/benchmark.md" in outcome.out
