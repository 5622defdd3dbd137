"""Runs as the paper's sweeps leave them, and the report made of them once."""

import json

import pytest

from measured_runs import GENERATED, OFFICIAL, write_recipe, write_results, wrong_images
from p2be_exp.report.paper.write import make_report, write_report

# error under corruptions (before the severities' spread), clean error
TABLE_2 = {"rgb": (33.1, 22.4), "onehot": (32.0, 23.9), "p2be": (31.8, 22.9)}
SMALL = {"name": "table2", "scale": "small"}
DIGITS = "backbone=wrn16_1 dataset=digits regime=augmix epochs=3 batch_size=32 limit_test=200"


def step(seed):
    """A spread of seeds that is not the same for any two."""
    return (seed * seed % 7 - 2) / 11


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Of Table II one network without the thermometer, with a run that is not finished; of Table IV; a small sweep."""
    root = tmp_path_factory.mktemp("report") / "runs & <more>"
    for number, (encoding, (corrupted, clean)) in enumerate(TABLE_2.items()):
        for seed in (0, 1, 2)[: 2 if encoding == "onehot" else 3]:
            errors = {"clean": clean + step(seed + number), "corruption": corrupted + step(2 * seed + number)}
            folder = root / "table2" / f"{encoding}_{seed}"
            write_recipe(folder, f"encoding={encoding}", errors, seed, corruption=OFFICIAL)
    write_recipe(root / "table2" / "unfinished", "encoding=thermometer", None, status="running")
    for encoding in ("onehot", "p2be"):
        for seed in (0, 1):
            attacked = {"onehot": 66 + step(seed), "p2be": 45.5}[encoding]
            errors = {"clean": 12 + step(seed), "attack/lspga/8": attacked}
            recipe = f"experiment=adversarial_cifar10 encoding={encoding}"
            write_recipe(root / "table4" / f"{encoding}_{seed}", recipe, errors, seed, attack={"name": "lspga"})
    for encoding, seed, rate in (("rgb", 0, 0.3), ("rgb", 1, 0.32), ("p2be", 1, 0.2)):
        folder = root / "small" / f"{encoding}_{seed}"
        write_recipe(
            folder, f"encoding={encoding} {DIGITS}", {}, seed, sweep=SMALL, corruption=GENERATED, limit_test=200
        )
        wrong = wrong_images(["clean", "corruption/fog/3"], 200, rate, seed)
        write_results(folder, wrong, {**_settings(folder), "dataset": "digits"})
    return root


def _settings(folder):
    return json.loads((folder / "results.json").read_text())["settings"]


@pytest.fixture(scope="session")
def report(runs):
    """Everything in memory."""
    return make_report([str(path) for path in sorted(runs.iterdir())])


@pytest.fixture(scope="session")
def written(report, tmp_path_factory):
    """The folder of the report."""
    out = tmp_path_factory.mktemp("written") / "out"
    write_report(report, out)
    return out


@pytest.fixture(scope="session")
def tables(report):
    """Filled tables by the ID of their files."""
    return {section.grid.id: section.table for section in report.sections}


@pytest.fixture(scope="session")
def words(report):
    """The same in words."""
    return {section.grid.id: section.grid for section in report.sections}
