"""The planted defences: each looks robust to every white-box attack, and the panel fails each; of honest ones none."""

import runpy
import sys
from unittest import mock

import pytest
import torch
from matplotlib.figure import Figure

from commandline import QUICKSTART, ROOT, train
from one_pixel import save_one_pixel
from p2be_exp.backbones import build_backbone
from p2be_exp.encodings import Thermometer
from p2be_exp.evaluation.sanity import panel
from p2be_exp.models.model import EncodedClassifier

SCRIPT = ROOT / "examples/planted_defences/planted_defences.py"
PLANTED = runpy.run_path(str(SCRIPT))
DEFENCES = PLANTED["DEFENCES"]
AS_IT_IS = "as it is"
DIRECTION = "a step along the gradient beats one against it"
REACHES = "a gradient reaches the image"


@pytest.fixture(autouse=True)
def few_without_a_bound(monkeypatch):
    """The attack without a bound takes most of the time of such small evaluations; five images show what it does."""
    monkeypatch.setattr(panel, "UNBOUNDED_IMAGES", 5)


def images(n=8):
    return torch.randint(256, (n, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EncodedClassifier(Thermometer(16), build_backbone("wrn16_1", 10)).eval()


@pytest.mark.parametrize("name", DEFENCES)
def test_a_defence_hardly_changes_what_the_network_says(network, name):
    planted = DEFENCES[name](network).eval()
    with torch.no_grad():
        there, plain = planted(images()), network(images())
    if name in ("random gradients", "detached features"):
        assert torch.equal(there, plain)
    elif name == "rounded logits":
        assert torch.equal(there, plain.round())
    elif name == "saturated logits":
        assert torch.equal(there.argmax(1), plain.argmax(1))
        assert ((there == 0) | (there == 1)).float().mean() > 0.9
    else:
        assert 0.1 < (there - plain).abs().max() <= 0.2500001
    again = planted(images())
    assert torch.equal(again, there) == (name != "noise")


def gradients(planted):
    features = [each.detach().requires_grad_() for each in planted.read(images())]
    loss = planted.body(*features).logsumexp(1).sum()
    return torch.autograd.grad(loss, features)[0] if loss.requires_grad else None


def test_what_is_left_of_the_gradient(network):
    network.requires_grad_(False)
    honest = gradients(PLANTED["Planted"](network)).flatten()
    found = {name: gradients(defence(network)) for name, defence in DEFENCES.items()}
    assert found.pop("detached features") is None
    assert (found.pop("rounded logits") == 0).all()
    assert (found.pop("saturated logits") == 0).float().mean() > 0.5
    for name, gradient in found.items():
        assert abs(torch.cosine_similarity(honest, gradient.flatten(), dim=0)) < 0.1, name
    network.requires_grad_(True)


def outcomes(run, suite, images, names, *overrides):
    """What each network gives under a suite."""
    kinds = {AS_IT_IS: PLANTED["Planted"], **DEFENCES}
    with mock.patch.object(Figure, "savefig", save_one_pixel):
        evaluation = PLANTED["Evaluation"].of(str(run), f"attack={suite}", f"limit_test={images}", *overrides)
        return {name: evaluation.outcome(kinds[name]) for name in names}


LEARNT = ("limit_train=500", "batch_size=32", "epochs=8", "limit_test=20")
LITTLE = ("trainer=cpu", "attack.eps_levels=16", "attack.steps=4", "attack.queries=2")


def learnt(folder, *encoding):
    """A run that has learnt the digits in some seconds."""
    outcome = train(*QUICKSTART, *LEARNT, *encoding, f"hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture(scope="module")
def rgb(tmp_path_factory):
    """A network of the digits that hardly resists changes of 16 levels."""
    return learnt(tmp_path_factory.mktemp("rgb") / "run", "encoding=rgb")


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["suite_short", "suite"])
def test_each_planted_defence_is_failed_and_the_network_as_it_is_not(rgb, suite):
    found = outcomes(rgb, suite, 28, [AS_IT_IS, *DEFENCES], *LITTLE)
    honest = found.pop(AS_IT_IS)
    assert honest.with_verdict("failed") == []
    for name, each in found.items():
        assert each.white_box[16] <= honest.white_box[16] - 20, name
        assert DIRECTION in each.with_verdict("failed"), name
    for name in ("saturated logits", "rounded logits", "detached features"):
        assert REACHES in found[name].with_verdict("failed")
    # Two that differ from the network by nothing that can be seen without its gradient.
    for name in ("hash noise", "random gradients"):
        assert REACHES not in found[name].with_verdict("failed")
    text = PLANTED["table"]([(AS_IT_IS, honest), *found.items()], 16)
    assert len(text.splitlines()) == 9
    assert f"| {AS_IT_IS} | {honest.clean:.1f} | {honest.white_box[16]:.1f} | {honest.worst[16]:.1f} | none |" in text


@pytest.mark.slow
def test_random_gradients_are_failed_by_the_short_suite_on_200_images(rgb):
    little = ("trainer=cpu", "attack.eps_levels=4", "attack.steps=1", "attack.queries=2")
    found = outcomes(rgb, "suite_short", 200, ["random gradients"], *little)["random gradients"]
    assert DIRECTION in found.with_verdict("failed")


@pytest.mark.slow
@pytest.mark.parametrize(
    "encoding", [("encoding=thermometer", "encoding.M=16"), ("encoding=p2be", "encoding.M=8", "preset.init=normal")]
)
def test_an_honest_network_is_not_failed(tmp_path, encoding):
    """That with P2BE's random table included."""
    run = learnt(tmp_path / "run", *encoding)
    found = outcomes(run, "suite_short", 28, [AS_IT_IS], *LITTLE)[AS_IT_IS]
    assert found.with_verdict("failed") == []
    assert {check["verdict"] for check in found.checks if check["name"] == REACHES} == {"ok"}


@pytest.mark.slow
def test_the_script_prints_a_table_a_suite(rgb, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(rgb), *LITTLE, "--images", "2", "--suites", "suite_short"])
    two = {name: DEFENCES[name] for name in ("rounded logits", "detached features")}
    monkeypatch.setitem(PLANTED["main"].__globals__, "DEFENCES", two)
    with mock.patch.object(Figure, "savefig", save_one_pixel):
        PLANTED["main"]()
    out = capsys.readouterr().out
    assert "attack=suite_short, 16 levels, error in percent of 2 images" in out
    assert [f"| {name} |" in out for name in (AS_IT_IS, *two)] == [True] * 3
