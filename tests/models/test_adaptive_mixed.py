"""Adaptive mixtures: the formula with each image's own weight, the maps that the gate reads, what is deployed."""

import copy

import pytest
import torch
from torch.nn import functional as F

from gated_mixtures import gated, maps_of, noise
from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.pgd import Asked
from p2be_exp.backbones import build_backbone
from p2be_exp.encodings import RGB
from p2be_exp.export import exported, largest_difference
from p2be_exp.export.deployment import DeployedClassifier
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.models.stage_maps import logits_and_maps, map_channels
from usual import P2BE, PGD

LABELS = torch.tensor([1, 0, 3])


# -- the formula ------------------------------------------------------------------------------------------------------


def test_the_output_is_the_logarithm_of_the_probabilities_mixed_by_the_gates_weights():
    torch.manual_seed(0)
    model = gated(RGB(), P2BE(8), accurate_scale=2.0, robust_scale=0.5)
    images = noise(5)
    gamma, alpha = model.gate(*maps_of(model, images))
    assert alpha.max() - alpha.min() > 0.1
    g, h, alpha = model.accurate(images), model.robust(images), alpha[:, None]
    expected = torch.log((1 - alpha) * torch.softmax(2.0 * g, 1) + alpha * torch.softmax(0.5 * h, 1))
    output = model(images)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(output.exp().sum(1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(model.gated(*model.read(images)), (output, gamma))


# -- its parts --------------------------------------------------------------------------------------------------------


def test_the_gate_alone_learns_and_the_parts_stay_in_eval_mode():
    model = gated(RGB(), P2BE(4)).train()
    assert all(module.training for module in model.gate.modules())
    assert not any(module.training for part in (model.robust, model.accurate) for module in part.modules())
    assert model.smoothness() is None
    network, tables = model.learned()
    assert {id(each) for each in network} == {id(each) for each in model.gate.parameters()}
    assert tables == []


@pytest.mark.parametrize(
    ("name", "channels", "sizes"),
    [("wrn16_1", (16, 32), (32, 16)), ("resnet18", (64, 128), (32, 16)), ("densenet40_12", (168, 312), (32, 16))],
)
def test_the_maps_are_the_outputs_of_the_first_two_stages(name, channels, sizes):
    torch.manual_seed(0)
    part = EncodedClassifier(RGB(), build_backbone(name, 4)).eval()
    assert map_channels(part) == channels
    images = noise(1, 32)
    with torch.no_grad():
        logits, *maps = logits_and_maps(part, *part.read(images))
        assert torch.equal(logits, part(images))
    assert [tuple(each.shape) for each in maps] == [(1, c, s, s) for c, s in zip(channels, sizes, strict=True)]


# -- attacks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["ce", "mix"])
def test_pgds_gradient_goes_through_gate_and_parts(loss):
    model, images = gated(RGB(), RGB()), noise(3)

    def value(codes):
        with torch.no_grad():
            output, gamma = model.gated(*(reader.of_codes(codes) for reader in model.readers))
        ce = F.nll_loss(output, LABELS, reduction="sum")
        return ce if loss == "ce" else 0.5 * ce - 0.5 * gamma.sigmoid().log().sum()

    with attacked(model):
        attack = PGD(8, loss=loss)
        found = Asked(model, attack, images)(images, LABELS, torch.arange(3), with_gradient=True).gradient
    codes, step = images.double() / 255, 1e-4
    for place in [(0, 0, 0, 0), (1, 2, 3, 4), (2, 1, 2, 2), (2, 0, 7, 7)]:
        moved = torch.zeros_like(codes)
        moved[place] = step / 255
        expected = (value(codes + moved) - value(codes - moved)) / (2 * step)
        assert found[place].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-9)


# -- deployment -------------------------------------------------------------------------------------------------------


def test_what_is_deployed_is_a_copy():
    torch.manual_seed(0)
    model, images = gated(RGB(), P2BE(20)), noise(3)
    before = model(images)
    deployed = DeployedClassifier(model, "folded")
    with torch.no_grad():
        model.gate.gate_mean.sub_(5)
        model.gate.network.project.weight.zero_()
    assert not torch.allclose(model(images), before)
    torch.testing.assert_close(deployed(images), before)


def test_it_is_exported():
    torch.manual_seed(0)
    model = gated(RGB(), P2BE(20)).float()
    assert largest_difference(exported(model, "lookup", (8, 8)).module(), model, (8, 8), (1, 3)) < 1e-4


def test_a_state_dict_has_the_constants():
    model = gated(RGB(), RGB(), alpha_low=0.3, alpha_high=0.6, gate_std=5.0, gate_mean=-1.0)
    other = gated(RGB(), RGB(), widths=(4, 8))
    assert not torch.equal(other(noise(2)), model(noise(2)))
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    assert torch.equal(other(noise(2)), model(noise(2)))
    constants = [getattr(other.gate, name).item() for name in ("alpha_low", "alpha_high", "gate_std", "gate_mean")]
    assert constants == pytest.approx([0.3, 0.6, 5.0, -1.0])
