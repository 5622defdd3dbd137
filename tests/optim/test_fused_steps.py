"""Fused steps, which GPUs take: few launches, the same weights as plain ones, states of either kind loaded."""

import copy

import pytest
import torch
from torch import nn

from benchmarks.launches import Launches
from p2be_exp.config import training_config
from p2be_exp.models.model import build_model
from p2be_exp.optim import build, build_optimizer

MOST_LAUNCHES = 6


@pytest.fixture
def fused(monkeypatch):
    """The CPU takes the way of a GPU: PyTorch has fused kernels for it, too."""
    monkeypatch.setattr(build, "_fused", lambda parameters: True)


def small_parts():
    generator = torch.Generator().manual_seed(0)
    kernel = nn.Parameter(torch.randn(4, 3, 3, 3, generator=generator).to(memory_format=torch.channels_last))
    return [kernel, nn.Parameter(torch.randn(4, generator=generator))], [
        nn.Parameter(torch.randn(8, 5, generator=generator))
    ]


def step(optimizer, parameters, number):
    generator = torch.Generator().manual_seed(number)
    for parameter in parameters:
        gradient = torch.randn(parameter.shape, generator=generator)
        parameter.grad = torch.empty_like(parameter).copy_(gradient)
    optimizer.step()


def optimizer_of(parts, preset="official"):
    return build_optimizer(*parts, training_config([f"preset={preset}"]).optim)


def test_a_step_of_the_recipe_in_few_launches(fused):
    config = training_config(["backbone=wrn40_2", "encoding=p2be"])
    network, table = build_model(config, 100).to(memory_format=torch.channels_last).learned()
    optimizer = build_optimizer(network, table, config.optim)
    step(optimizer, [*network, *table], 0)  # states begin
    step(optimizer, [*network, *table], 1)
    with Launches() as launches:
        optimizer.step()
    assert set(launches.by_name) == {"aten._fused_sgd_", "aten._fused_adamw_", "aten._foreach_add_"}
    assert launches.total <= MOST_LAUNCHES
    assert launches.waits == 0


@pytest.mark.parametrize("preset", ["official", "paper"])
def test_fused_steps_make_the_same_weights(preset, monkeypatch):
    plain, other = small_parts(), small_parts()
    usual = optimizer_of(plain, preset)
    monkeypatch.setattr(build, "_fused", lambda parameters: True)
    fused = optimizer_of(other, preset)
    for number in range(5):
        step(usual, [*plain[0], *plain[1]], number)
        step(fused, [*other[0], *other[1]], number)
    for one, two in zip([*plain[0], *plain[1]], [*other[0], *other[1]], strict=True):
        torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)


def test_a_parameter_may_get_its_first_gradient_later(fused):
    network, table = small_parts()
    optimizer = optimizer_of((network, table))
    before = network[1].detach().clone()
    step(optimizer, [network[0], *table], 0)
    assert torch.equal(network[1], before)
    step(optimizer, [*network, *table], 1)
    momentum = optimizer.state[network[1]]["momentum_buffer"]
    torch.testing.assert_close(momentum, network[1].grad + 5e-4 * before)


def test_on_the_cpu_pytorch_chooses():
    assert [group["fused"] for group in optimizer_of(small_parts()).param_groups] == [None, None]


@pytest.mark.parametrize("saved_fused", [True, False])
def test_a_state_goes_on_by_the_kernels_of_its_device(saved_fused, monkeypatch):
    """A run that a GPU began goes on here, and the other way round."""
    kinds = [True if saved_fused else None, None if saved_fused else True]
    monkeypatch.setattr(build, "_fused", lambda parameters: kinds[0])
    began, whole = small_parts(), small_parts()
    first, uninterrupted = optimizer_of(began), optimizer_of(whole)
    for number in range(2):
        step(first, [*began[0], *began[1]], number)
        step(uninterrupted, [*whole[0], *whole[1]], number)
    state = copy.deepcopy(first.state_dict())
    for each in state["members"]["backbone"]["state"].values():
        each["momentum_buffer"] = each["momentum_buffer"].contiguous()  # another layout than the parameter's
    monkeypatch.setattr(build, "_fused", lambda parameters: kinds[1])
    second = optimizer_of(began)
    second.load_state_dict(state)
    assert [group["fused"] for group in second.param_groups] == [kinds[1]] * 2
    for number in range(2, 4):
        step(second, [*began[0], *began[1]], number)
        step(uninterrupted, [*whole[0], *whole[1]], number)
    for one, two in zip([*whole[0], *whole[1]], [*began[0], *began[1]], strict=True):
        torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_a_gpu_steps_in_fused_kernels():
    network, table = ([nn.Parameter(each.detach().cuda()) for each in part] for part in small_parts())
    optimizer = optimizer_of((network, table))
    assert [group["fused"] for group in optimizer.param_groups] == [True, True]
    plain = small_parts()
    usual = optimizer_of(plain)
    for number in range(5):
        step(optimizer, [*network, *table], number)
        step(usual, [*plain[0], *plain[1]], number)
    for one, two in zip([*plain[0], *plain[1]], [*network, *table], strict=True):
        torch.testing.assert_close(two.cpu(), one, rtol=1e-5, atol=1e-6)
