"""Adversarial weight perturbation against the reference's steps on a copy of the network."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from p2be_exp.errors import BadInput
from p2be_exp.regimes.weight_perturbation import WeightPerturbation

GAMMA = 0.01


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    ).double()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 3, 8, 8, generator=generator, dtype=torch.float64), torch.arange(16) % 5


def reference_perturbed(network, data, gamma):
    """``AdvWeightPerturb.calc_awp`` and ``perturb`` (github.com/csdongxian/AWP, utils_awp.py): the weights by name."""
    proxy = copy.deepcopy(network)
    optimizer = torch.optim.SGD(proxy.parameters(), lr=0.01)
    proxy.train()
    loss = -F.cross_entropy(proxy(data[0]), data[1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    weights = {}
    moved = proxy.state_dict()
    for name, old in network.state_dict().items():
        weights[name] = old.clone()
        if old.dim() > 1 and "weight" in name:
            difference = moved[name] - old
            weights[name] += gamma * old.norm() / (difference.norm() + 1e-20) * difference
    return weights


def test_the_weights_are_those_of_the_reference_and_come_back_to_the_bit(network, data):
    before = copy.deepcopy(network.state_dict())
    expected = reference_perturbed(network, data, GAMMA)
    perturbation = WeightPerturbation(GAMMA, 0)
    perturbation.ascend(network, network.parameters(), lambda: F.cross_entropy(network(data[0]), data[1]))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)
    moved = [name for name, value in network.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == ["0.weight", "5.weight"]  # neither biases nor the norm, its running statistics included
    perturbation.restore()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    perturbation.restore()
    assert torch.equal(network[0].weight, before["0.weight"])


def test_weights_that_were_not_set_back_are_before_they_move_again(network, data):
    """As after an error in the pass that follows."""
    before, perturbation = copy.deepcopy(network.state_dict()), WeightPerturbation(GAMMA, 0)
    moved = []
    for _ in range(2):
        perturbation.ascend(network, network.parameters(), lambda: F.cross_entropy(network(data[0]), data[1]))
        moved.append(network[0].weight.clone())
    assert torch.equal(*moved)
    perturbation.restore()
    assert torch.equal(network[0].weight, before["0.weight"])


def test_a_gradient_of_zero_moves_nothing(network, data):
    before = copy.deepcopy(network.state_dict())
    WeightPerturbation(GAMMA, 0).ascend(network, network.parameters(), lambda: 0 * network(data[0]).sum())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_it_raises_the_loss_and_leaves_no_gradient(network, data):
    def loss():
        return F.cross_entropy(network(data[0]), data[1])

    before, perturbation = loss().item(), WeightPerturbation(0.05, 0)
    perturbation.ascend(network, network.parameters(), loss)
    assert loss().item() > before + 1e-3
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_size_is_a_share_of_each_tensors_norm(network, data):
    before = copy.deepcopy(network.state_dict())
    WeightPerturbation(GAMMA, 0).ascend(
        network, network.parameters(), lambda: F.cross_entropy(network(data[0]), data[1])
    )
    for name in ("0.weight", "5.weight"):
        step = (network.state_dict()[name] - before[name]).norm()
        torch.testing.assert_close(step, GAMMA * before[name].norm(), rtol=1e-9, atol=0)


def test_the_next_pass_under_autocast_sees_the_perturbed_weights(network, data):
    network.float()
    images = data[0].float()
    with torch.autocast("cpu", torch.bfloat16):
        before = network(images)  # its bfloat16 copies of the weights are kept by autocast
        WeightPerturbation(0.5, 0).ascend(
            network, network.parameters(), lambda: F.cross_entropy(network(images), data[1])
        )
        after = network(images)
    assert (after - before).abs().max() > 0.05


def test_frozen_and_unused_weights_stay(network, data):
    network[0].weight.requires_grad_(False)
    unused = nn.Parameter(torch.ones(2, 2, dtype=torch.float64))
    before = network[0].weight.clone()
    WeightPerturbation(GAMMA, 0).ascend(
        network, [*network.parameters(), unused], lambda: F.cross_entropy(network(data[0]), data[1])
    )
    assert torch.equal(network[0].weight, before)
    assert torch.equal(unused, torch.ones(2, 2, dtype=torch.float64))


def test_it_starts_after_the_warm_up_and_not_without_a_size():
    assert [WeightPerturbation(GAMMA, 10).starts_by(epoch) for epoch in (0, 9, 10, 11)] == [False, False, True, True]
    assert not WeightPerturbation(0.0, 0).starts_by(5)


@pytest.mark.parametrize(("gamma", "warmup", "key"), [(-0.1, 0, "awp_gamma=-0.1"), (0.1, -1, "awp_warmup=-1")])
def test_negative_settings_are_refused(gamma, warmup, key):
    with pytest.raises(BadInput, match=key):
        WeightPerturbation(gamma, warmup)
