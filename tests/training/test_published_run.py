"""``model=published``: a file becomes a run, evaluated, resumed and mixed; a narrow copy stands for it."""

import hashlib
import json
from functools import partial
from pathlib import Path

import pytest
import torch

from commandline import evaluate_clean, refusal, train
from p2be_exp import load_run
from p2be_exp.models.published.networks import RECIPES, Recipe
from p2be_exp.models.published.padded_wide_resnet import PaddedWideResNet
from p2be_exp.runs.run import Run

NETWORK = "wrn70_16_silu"
SMALL = ("limit_train=20", "limit_test=20", "trainer.progress=false", "dataset=digits", "trainer=cpu")


@pytest.fixture(autouse=True)
def file(monkeypatch, workdir):
    """A file of a narrow network."""
    make = partial(PaddedWideResNet, depths=(1, 1, 1), widths=(4, 6, 8))
    monkeypatch.setitem(RECIPES, NETWORK, Recipe(make, "logits.bias", RECIPES[NETWORK].colours))
    return saved(workdir / "wrn.pt")


def saved(path, seed=0):
    """A freshly initialised network as DataParallel saves it."""
    torch.manual_seed(seed)
    weights = RECIPES[NETWORK].build(10).state_dict()
    torch.save({"model": {f"module.{key}": value for key, value in weights.items()}}, path)
    return path


def published(folder, *arguments, weights="wrn.pt"):
    chosen = ("model=published", f"model.network={NETWORK}", f"model.weights={weights}")
    return train(*SMALL, *chosen, *arguments, f"hydra.run.dir={folder}")


def test_a_file_becomes_a_run(file, workdir):
    outcome = published("run")
    assert outcome.code == 0, outcome.err
    assert f"rgb; {NETWORK}; " in outcome.out
    model, own = load_run("run"), torch.load(file, weights_only=True)["model"]
    for name, value in model.network.state_dict().items():
        if name not in ("mean", "std"):
            assert torch.equal(value, own[f"module.{name}"]), name
    facts = Run(workdir / "run").info()["published"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert facts == {"network": NETWORK, "path": str(file), "sha256": digest}
    # Killed before there was a checkpoint, it takes the weights again; with one it needs the file no more.
    before = json.loads((workdir / "run/results.json").read_text())["clean_error"]
    (workdir / "run/checkpoints/last.ckpt").unlink()
    for rest in (lambda: None, file.unlink):
        rest()
        assert (outcome := train("resume=run")).code == 0, outcome.err
        assert json.loads((workdir / "run/results.json").read_text())["clean_error"] == before
    assert (outcome := evaluate_clean("run=run", "name=again")).code == 0, outcome.err


def test_two_of_them_are_the_parts_of_a_mixture(workdir):
    saved(workdir / "other.pt", seed=1)
    assert (outcome := published("robust")).code == 0, outcome.err
    assert (outcome := published("accurate", weights="other.pt")).code == 0, outcome.err
    mixed = train(*SMALL, "model=mix", "model.accurate=accurate", "model.robust=robust", "hydra.run.dir=mixture")
    assert mixed.code == 0, mixed.err
    assert f"robust (rgb; {NETWORK})" in mixed.out
    assert "roles" not in mixed.out  # nobody says how a published network was trained
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        accurate, robust = (load_run(part)(images).softmax(1) for part in ("accurate", "robust"))
        assert (accurate - robust).abs().max() > 1e-3
        torch.testing.assert_close(load_run("mixture")(images).exp(), 0.3 * accurate + 0.7 * robust)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encoding=p2be"], "encoding=p2be: not beside model=published, which reads RGB with the network of model.n"),
        (["backbone=wrn16_1"], "backbone=wrn16_1: not beside model=published, which reads RGB with the network of mod"),
        (["regime=standard"], "regime=standard: must be none with model=published"),
        (["model.weights=none.pt"], f"model.weights=none.pt: no such file; expected the weights of {NETWORK}"),
        (["model.weights=null"], "model.weights: required by model=published; the file, as published"),
        (["model.network=null"], "model.network: required by model=published; one of bit_resnet152x2, "),
        (["model.network=wrn34_10"], "model.weights=wrn.pt: not the weights of wrn34_10 ("),
    ],
)
def test_what_is_refused(arguments, message):
    assert refusal(published("run", *arguments)).startswith(message)
    assert not Path("run/run.json").exists()
