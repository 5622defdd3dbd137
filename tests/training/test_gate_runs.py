"""A run that trains a gate between two others: its parts, stop and resume, the attack on it, and what is refused."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from commandline import assert_equal, at_batch, checkpoint_of, evaluate, refusal, train, untimed
from p2be_exp import load_run
from p2be_exp.config import training_config
from p2be_exp.config.typed import plain

GATE = (
    "dataset=digits",
    "trainer=cpu",
    "trainer.progress=false",
    "model=adaptive_mix",
    "model.widths=[4,8]",
    "regime.attack.steps=2",
    "limit_train=8",
    "limit_test=8",
    "batch_size=4",
    "epochs=2",
    "corruption=none",
    "attack=none",
)
"""Two batches an epoch."""


@pytest.fixture(scope="module")
def parts(rgb_run, four_epochs):
    return f"model.accurate={rgb_run}", f"model.robust={four_epochs}"


@pytest.fixture(scope="module")
def whole(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate") / "run"
    outcome = train(*GATE, *parts, f"hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.err
    return folder


def test_the_parts_are_those_of_their_runs_to_the_bit(whole, rgb_run, four_epochs):
    model = load_run(whole)
    for part, run in ((model.accurate, rgb_run), (model.robust, four_epochs)):
        assert_equal(dict(part.state_dict()), dict(load_run(run).state_dict()))
    assert model.gate.norm.num_batches_tracked == 4
    constants = [getattr(model.gate, name).item() for name in ("alpha_low", "alpha_high", "gate_std", "gate_mean")]
    assert constants == [0.5, 1.0, 2.0, 1.0]
    assert len(model.gate.network.layers) == 2


def test_stopped_and_gone_on_with_it_is_the_same_to_the_bit(whole, parts, workdir, monkeypatch):
    at_batch(monkeypatch, 1, 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert train(*GATE, *parts, "hydra.run.dir=run").code == 143
    assert checkpoint_of(Path("run"))["global_step"] == 3
    outcome = train("resume=run")
    assert outcome.code == 0, outcome.err
    left, right = checkpoint_of(Path("run")), checkpoint_of(whole)
    for key in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "train_meter"):
        assert_equal(left[key], right[key], key)
    for table in ("metrics.csv", "results.csv"):
        assert untimed(Path("run") / table) == untimed(whole / table)


def test_it_is_attacked_through_its_gate(whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    attack = ("attack=pgd", "attack.loss=mix", "attack.steps=2")
    outcome = evaluate(f"run={run}", *attack, "limit_test=2", "corruption=none", "trainer=cpu", "name=mix")
    assert outcome.code == 0, outcome.err
    assert "attack/pgd_mix_secant/8" in json.loads((run / "evaluations/mix/results.json").read_text())["conditions"]


# -- bad input --------------------------------------------------------------------------------------------------------

REFUSED = {
    "model.alpha_low=0.9 model.alpha_high=0.8": "model.alpha_low=0.9: must be at most model.alpha_high=0.8",
    "model.alpha_high=1.1": "model.alpha_high=1.1: must be between 0 and 1",
    "model.gate_std=0": "model.gate_std=0.0: must be above 0",
    "model.widths=[]": "model.widths=[]: at least one layer is required",
    "model.widths=[4,0]": "model.widths=[4, 0]: must be between 1 and 4096",
    "regime.radius_low=1.2": "regime.radius_low=1.2: must be at most regime.radius_high=1.1",
    "regime.clean_scale=0": "regime.clean_scale=0.0: must be above 0",
    "regime.attack.loss=ce": "attack@regime.attack=pgd regime.attack.loss=ce: must be pgd with loss=mix",
    "attack@regime.attack=lspga regime.attack.loss=ce": "attack@regime.attack=lspga: must be pgd with loss=mix",
    "batch_size=1": "batch_size=1: must be 2 or more with regime=mixing",
    "optim.betas=[0.9]": "optim.betas=[0.9]: must be two numbers, each at least 0 and below 1",
    "regime=standard": "regime=standard: must be mixing with model=adaptive_mix",
    "encoding=rgb": "encoding=rgb: not beside model=adaptive_mix, whose encodings and backbones",
}


@pytest.mark.parametrize("given", REFUSED)
def test_a_gate_that_cannot_be_trained_is_refused_before_data_is_read(given, workdir):
    arguments = ["model=adaptive_mix", "model.accurate=A", "model.robust=B", "dataset=cifar10", "data_dir=nowhere"]
    assert refusal(train(*arguments, *given.split())).startswith(REFUSED[given])
    assert not any(workdir.iterdir())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("optim=mixing", "optim=mixing: only with model=adaptive_mix, not plain"),
        ("regime=mixing", "regime=mixing: only with model=adaptive_mix; with model=plain it must be one of"),
        ("attack=pgd attack.loss=mix", "attack.loss=mix: climbs a gate, which model=adaptive_mix alone has"),
        (
            "regime=advtrain attack@regime.attack=pgd regime.attack.loss=mix",
            "regime.attack.loss=mix: climbs a gate, which model=adaptive_mix alone has",
        ),
    ],
)
def test_what_needs_a_gate_is_refused_without_one(given, said, workdir):
    assert refusal(train("dataset=digits", *given.split())).startswith(said)
    assert not any(workdir.iterdir())


def test_a_finished_run_without_a_gate_has_none_to_be_attacked(rgb_run):
    said = refusal(evaluate(f"run={rgb_run}", "attack=pgd", "attack.loss=mix", "name=mix"))
    assert said.startswith("attack.loss=mix: climbs a gate, which model=adaptive_mix alone has")


def test_a_part_without_stages_is_refused(rgb_run, four_epochs, workdir):
    run = shutil.copytree(four_epochs, workdir / "robust")
    stored = OmegaConf.load(run / "config.yaml")
    stored.backbone = plain(training_config(["backbone=allconv"]).backbone)
    OmegaConf.save(stored, run / "config.yaml")
    said = refusal(train(*GATE, f"model.accurate={rgb_run}", "model.robust=robust", "hydra.run.dir=run"))
    assert "backbone=allconv: has no stages, which model=adaptive_mix needs; those that have are" in said
    assert said.startswith("model.robust=robust: ")
    assert not (workdir / "run").exists()


def test_fewer_than_four_classes_have_no_targets(whole, workdir, monkeypatch):
    """The classes of a data set are known once it is read, before there is a folder."""
    monkeypatch.setattr("p2be_exp.data.ImageDataModule.num_classes", property(lambda data: 3))
    roles = parts_of(whole)
    said = refusal(train(*GATE, *roles, "hydra.run.dir=run"))
    assert said.startswith("regime.targets=9: leads images by the targeted DLR, which needs 4 classes; with 3")
    assert not (workdir / "run").exists()


def parts_of(run):
    """What the command named."""
    facts = json.loads((run / "run.json").read_text())["parts"]
    return [f"model.{role}={each['path']}" for role, each in facts.items()]
