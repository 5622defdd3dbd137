"""``python -m p2be_exp.published``: the list, what a file is said to be, and what is refused."""

from functools import partial

import pytest
import torch

from commandline import published, refusal
from p2be_exp.models.published.networks import RECIPES, Recipe
from p2be_exp.models.published.padded_wide_resnet import PaddedWideResNet
from p2be_exp.published.table import published_table

NETWORK = "wrn70_16_silu"

pytestmark = pytest.mark.usefixtures("workdir")


@pytest.fixture
def file(monkeypatch, workdir):
    """A file of a narrow network that stands for the published one."""
    make = partial(PaddedWideResNet, depths=(1, 1, 1), widths=(4, 6, 8))
    monkeypatch.setitem(RECIPES, NETWORK, Recipe(make, "logits.bias", RECIPES[NETWORK].colours))
    weights = RECIPES[NETWORK].build(10).state_dict()
    torch.save({"module." + key: value for key, value in weights.items()}, workdir / "wrn.pt")
    return "wrn.pt"


def test_the_list():
    outcome = published("list")
    assert (outcome.code, outcome.out) == (0, published_table() + "\n")


def test_a_file_that_fits(file):
    outcome = published("check", f"network={NETWORK}", f"weights={file}")
    assert outcome.code == 0, outcome.err
    parameters = sum(each.numel() for each in RECIPES[NETWORK].build(10).parameters())
    lines = outcome.out.splitlines()
    assert lines[0] == f"{file}: names and shapes are those of {NETWORK}"
    assert lines[2].startswith(f"  10 classes (CIFAR-10), {parameters:,} parameters, images normalised by mean 0.4914 ")
    assert lines[3:-1] == ["  robust part of adaptive_smoothing_cifar10_edm"]


def test_a_file_that_does_not_fit(file):
    said = refusal(published("check", "network=ra_wrn70_16", f"weights={file}"))
    assert said.startswith(f"weights={file}: not the weights of ra_wrn70_16 (layer.")
    assert said.endswith("is missing)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lisst"], "lisst: not a command; available: list, check; did you mean list?"),
        (["list", "network=x"], "network=x: list takes no arguments"),
        (["check", "--all"], "--all: not a flag; the command takes KEY=VALUE (see --help)"),
        (["check", "weights=x.pt"], "network: required; one of bit_resnet152x2, ra_wrn70_16, wrn34_10, wrn70_16_silu"),
        (["check", "network=wrn34_10"], "weights: required; the file, as published"),
        (["check", "network=wrn34_10", "weights=x.pt"], "weights=x.pt: no such file"),
        (["check", "network=wrn70_16", "weights=x.pt"], "network=wrn70_16: must be one of bit_resnet152x2, "),
        (["check", "file=x.pt"], "file=x.pt: unknown key"),
    ],
)
def test_what_is_refused(arguments, message):
    assert refusal(published(*arguments)).startswith(message)
