"""The sweep of Feature Pyramid Decoders: which jobs there are, and that their optimizers take equally many steps."""

import math
from collections import Counter

import pytest

from commandline import train
from p2be_exp.data import source_class
from p2be_exp.optim import CombinedOptimizer
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.optimizer_steps import optimizer_steps
from p2be_exp.sweeps import plan_jobs, read_sweep

PARTS = ("tanh", "denoise", "image_denoise", "restoration")


def planned(scale):
    return [job.config for grid in read_sweep("fpd", scale).grids.values() for job in plan_jobs(grid)]


def most_steps(config):
    """Of the optimizer in a training, where every batch of ``regime=fpd`` is restored well enough for two."""
    images = config.limit_train or source_class(config.dataset.name).published.train - config.dataset.val_size
    return config.epochs * math.ceil(images / config.batch_size) * (2 if config.regime.name == "fpd" else 1)


@pytest.mark.parametrize("scale", ["full", "small"])
def test_jobs_have_equal_steps_one_optimizer_and_the_same_attacks(scale):
    configs = planned(scale)
    assert len({(config.dataset.name, most_steps(config)) for config in configs}) == (3 if scale == "full" else 1)
    for equal in ("optim", "batch_size", "limit_train", "attack", "backbone", "encoding"):
        assert len({str(getattr(config, equal)) for config in configs}) == 1, equal
    assert {(config.optim.name, config.attack.radii[-1] >= 8) for config in configs} == {("adam", True)}
    inner = [config.regime.attack for config in configs if config.regime.attack is not None]
    assert len({str(attack) for attack in inner}) == 1


@pytest.mark.parametrize("scale", ["full", "small"])
def test_jobs_are_plain_whole_and_with_each_part_off(scale):
    configs = planned(scale)
    found = Counter()
    for config in configs:
        off = [part for part in PARTS if config.model.name == "fpd" and not getattr(config.model, part)]
        off += ["noise"] if config.regime.name == "fpd" and config.regime.noise == 0 else []
        found[(config.model.name, config.regime.name, *off)] += 1
    jobs = {
        ("plain", "standard"),
        ("plain", "advtrain"),
        ("fpd", "advtrain"),
        ("fpd", "fpd"),
        *(("fpd", "fpd", part) for part in (*PARTS[:3], "noise")),
        ("fpd", "standard", "restoration"),
        ("fpd", "standard"),
    }
    assert set(found) == jobs
    assert set(found.values()) == {3 * 3 if scale == "full" else 1}
    assert {config.dataset.name for config in configs} == (
        {"mnist", "svhn", "cifar10"} if scale == "full" else {"digits"}
    )


@pytest.mark.parametrize("scale", ["full", "small"])
def test_whole_decoders_trained_by_classification_alone_have_statistics_by_pass(scale):
    decoders = [config for config in planned(scale) if config.model.name == "fpd"]
    alone = [config for config in decoders if config.model.restoration and config.regime.name != "fpd"]
    assert {config.regime.name for config in alone} == {"standard", "advtrain"}
    assert {config.model.statistics for config in alone} == {"by_pass"}
    assert {config.model.statistics for config in decoders if config not in alone} == {"shared"}


def test_steps_are_counted(workdir, monkeypatch):
    """Of two jobs of the small scale, by the optimizers themselves; the report counts as they do."""
    steps = Counter()
    step = CombinedOptimizer.step
    monkeypatch.setattr(
        CombinedOptimizer, "step", lambda self, closure=None: steps.update([folder]) or step(self, closure)
    )
    few = ("batch_size=4", "limit_train=8", "limit_test=4", "attack=none", "trainer.progress=false", "trainer=cpu")
    dropped = ("sweeps=", "scale=", "attack.", "attack=")
    for folder in ("plain", "decoder"):
        job = [each for each in read_sweep("fpd", "small").grids[folder] if not each.startswith(dropped)]
        outcome = train(*job, *few, f"hydra.run.dir={folder}")
        assert outcome.code == 0, outcome.err
    told = {each.folder.name: optimizer_steps(each) for each in gather(["plain", "decoder"])[0]}
    assert told == steps
    assert told["plain"] == 24
    assert 12 <= told["decoder"] <= 24  # a first batch that is badly restored has one step
