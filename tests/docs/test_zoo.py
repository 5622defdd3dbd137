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
from p2be_exp.runs.shared import ATTACKED

FOLDER = ROOT / "docs/zoo"
LARGEST = 2_000_000
"""Bytes of a network, which everybody gets with the package."""


DIGITS = ["digits_p2be", "digits_rgb", "digits_thermometer"]
"""Networks of the quickstart, whose images are embedded."""

STUDY = ["cifar10_onehot", "cifar10_p2be", "cifar10_rgb", "cifar10_thermometer"]
"""Those of the CPU study, which was attacked on fewer images."""


def results_of(name, file="results.json"):
    return json.loads((FOLDER / name / file).read_text())


def attacked(name):
    return results_of(name, "results_attacks.json" if name in STUDY else "results.json")


def test_the_networks_of_the_zoo():
    assert list_models() == sorted(each.name for each in FOLDER.iterdir())
    assert list_models() == [*STUDY, *DIGITS]


@pytest.mark.parametrize("name", DIGITS)
def test_a_network_reaches_its_numbers(name):
    _, test = load_dataset("digits", "none", False)
    with torch.no_grad():
        wrong = int((load_run(f"zoo:{name}")(test.images).argmax(1) != test.labels).sum())
    # Another CPU may round an image that is on the edge to the other side.
    assert abs(wrong - results_of(name)["conditions"]["clean"]["n_wrong"]) <= 2


@pytest.mark.parametrize("name", list_models())
def test_the_folder_of_a_network(name):
    files = {each.name: each.read_bytes() for each in (FOLDER / name).iterdir()}
    apart = {"results_attacks.json"} if name in STUDY else set()
    assert set(files) == {"model.safetensors", "config.json", "results.json", "README.md"} | apart
    assert sum(map(len, files.values())) < LARGEST
    config, results = json.loads(files["config.json"]), attacked(name)
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
    apart = read_results(folder, name, weights.checkpoint, weights.step, ATTACKED) if name in STUDY else None
    card = Card(network.config(), network.info(), *known, licence="mit", attacked=apart)
    assert (folder / "README.md").read_text() == card.text()


def test_the_runs_are_the_quickstart_s():
    quickstart = yaml.safe_load((ROOT / "conf/experiment/quickstart.yaml").read_text())
    for name in DIGITS:
        configuration = json.loads((FOLDER / name / "config.json").read_text())["configuration"]
        assert configuration["encoding"]["name"] == name.removeprefix("digits_")
        for key in ("epochs", "batch_size"):
            assert configuration[key] == quickstart[key]
        assert (configuration["backbone"]["name"], configuration["regime"]["name"]) == ("wrn16_1", "standard")


def line_of(name, *errors):
    """A row of the page's tables."""
    size = sum(each.stat().st_size for each in (FOLDER / name).iterdir())
    link = f"[{name}](zoo/{name}/README.md)"
    return f"| {link} | {' | '.join(f'{each:.2f}' for each in errors)} | {size / 1e6:.2f} MB |"


def lines_of_page(beginning):
    return [line for line in (ROOT / "docs/sharing.md").read_text().splitlines() if line.startswith(beginning)]


def test_the_page_has_the_numbers_of_the_results():
    rows = []
    for name in DIGITS:
        results = results_of(name)
        errors = (results["clean_error"], results["mean_corruption_error"], results["worst_case_error"]["8"])
        rows.append(line_of(name, *errors))
        assert len(results["corruptions"]["per_corruption"]) == 14
        assert results["conditions"]["clean"]["n"] == 500
        assert results["settings"]["attack"]["name"] == "suite_short"
    assert lines_of_page("| [digits_") == rows


def test_the_page_has_the_numbers_of_the_study():
    rows = []
    for name in STUDY:
        results, attacks = results_of(name), attacked(name)
        worst = attacks["worst_case_error"]
        rows.append(line_of(name, results["clean_error"], results["mean_corruption_error"], worst["2"], worst["8"]))
        assert len(results["corruptions"]["per_corruption"]) == 15
        assert (results["conditions"]["clean"]["n"], attacks["conditions"]["clean"]["n"]) == (2000, 500)
        assert attacks["settings"]["attack"]["name"] == "suite"
        assert json.loads((FOLDER / name / "config.json").read_text())["configuration"]["sweeps"] == "cpu_study"
    assert lines_of_page("| [cifar10_") == rows
