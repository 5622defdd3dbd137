"""The zoo: its networks say what their cards say, in this package's folder and on the page that lists them."""

import hashlib
import json
import re

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from commandline import ROOT
from p2be_exp import list_models, load_dataset, load_run
from p2be_exp.export.model_card import Card
from p2be_exp.export.shared_results import read_results
from p2be_exp.runs.run import Run

FOLDER = ROOT / "docs/zoo"
LARGEST = 2_000_000
"""Bytes of a network, which everybody gets with the package."""


def results_of(name):
    return json.loads((FOLDER / name / "results.json").read_text())


def test_the_networks_of_the_zoo():
    assert list_models() == sorted(each.name for each in FOLDER.iterdir())
    assert set(list_models()) == {"digits_p2be", "digits_rgb", "digits_thermometer"}


@pytest.mark.parametrize("name", list_models())
def test_a_network_reaches_its_numbers(name):
    _, test = load_dataset("digits", "none", False)
    with torch.no_grad():
        wrong = int((load_run(f"zoo:{name}")(test.images).argmax(1) != test.labels).sum())
    # Another CPU may round an image that is on the edge to the other side.
    assert abs(wrong - results_of(name)["conditions"]["clean"]["n_wrong"]) <= 2


@pytest.mark.parametrize("name", list_models())
def test_the_folder_of_a_network(name):
    files = {each.name: each.read_bytes() for each in (FOLDER / name).iterdir()}
    assert set(files) == {"model.safetensors", "config.json", "results.json", "README.md"}
    assert sum(map(len, files.values())) < LARGEST
    config, results = json.loads(files["config.json"]), results_of(name)
    assert config["weights"]["sha256"] == hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert re.fullmatch(r"[0-9a-f]{40}", config["run"]["git_commit"])  # of a clean checkout
    failed = [check["name"] for check in results["sanity"] if check["verdict"] == "failed"]
    assert not failed
    assert ModelCard(files["README.md"].decode()).data.license == "mit"


@pytest.mark.parametrize("name", list_models())
def test_a_card_is_of_its_own_results(name):
    network, folder = Run.open(f"zoo:{name}", or_shared=True), FOLDER / name
    weights = network.shared.weights
    results = read_results(folder, name, weights.checkpoint, weights.step)
    known = (weights.checkpoint, weights.step, weights.classes, 32, results)
    card = Card(network.config(), network.info(), *known, licence="mit")
    assert (folder / "README.md").read_text() == card.text()


def test_the_runs_are_the_quickstart_s():
    quickstart = yaml.safe_load((ROOT / "conf/experiment/quickstart.yaml").read_text())
    for name in list_models():
        configuration = json.loads((FOLDER / name / "config.json").read_text())["configuration"]
        assert configuration["encoding"]["name"] == name.removeprefix("digits_")
        for key in ("epochs", "batch_size"):
            assert configuration[key] == quickstart[key]
        assert (configuration["backbone"]["name"], configuration["regime"]["name"]) == ("wrn16_1", "standard")


def test_the_page_has_the_numbers_of_the_results():
    page, rows = (ROOT / "docs/sharing.md").read_text(), []
    for name in list_models():
        results, size = results_of(name), sum(each.stat().st_size for each in (FOLDER / name).iterdir())
        errors = (results["clean_error"], results["mean_corruption_error"], results["worst_case_error"]["8"])
        link = f"[{name}](zoo/{name}/README.md)"
        rows.append(f"| {link} | {' | '.join(f'{each:.2f}' for each in errors)} | {size / 1e6:.2f} MB |")
        assert len(results["corruptions"]["per_corruption"]) == 14
        assert results["conditions"]["clean"]["n"] == 500
        assert results["settings"]["attack"]["name"] == "suite_short"
    assert [line for line in page.splitlines() if line.startswith("| [digits_")] == rows
