"""The residual networks' activation: ReLU as published, or ELU in every place of it."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from p2be_exp.backbones import build_backbone
from p2be_exp.backbones.activation import activation_function
from staged_backbones import features_for, image_side, seeded

# Layers: 6n + 4 with n blocks of two a group, and the last; 1 + 2 * 8; 1 + 3 * 9; 1 + 3 * 16.
PLACES = {
    "wrn16_1": 13,
    "wrn40_2": 37,
    "resnet18": 17,
    "resnext29_32x4d": 28,
    "resnext29_4x32d": 28,
    "resnet50": 49,
}


class Counted(TorchFunctionMode):
    """Counts the calls of activations; ``instead`` takes the place of ReLU."""

    def __init__(self, instead=None):
        super().__init__()
        self.relu = self.elu = 0
        self.instead = instead

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "").strip("_")
        self.relu += name == "relu"
        self.elu += name == "elu"
        if name == "relu" and self.instead is not None:
            return self.instead(args[0])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", PLACES)
@torch.no_grad()
def test_elu_stands_in_every_place_of_relu(name):
    relu, elu = seeded(name), seeded(name, activation="elu")
    assert list(relu.state_dict()) == list(elu.state_dict())
    assert all(torch.equal(value, elu.state_dict()[key]) for key, value in relu.state_dict().items())
    features = features_for(relu, image_side(name))
    with Counted() as of_relu:
        plain = relu(features)
    assert (of_relu.relu, of_relu.elu) == (PLACES[name], 0)
    with Counted() as of_elu:
        logits = elu(features)
    assert (of_elu.relu, of_elu.elu) == (0, PLACES[name])
    with Counted(instead=F.elu):
        assert torch.equal(relu(features), logits)
    assert not torch.allclose(plain, logits, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("name", PLACES)
@torch.no_grad()
def test_relu_is_what_there_is_without_the_key(name):
    usual, named = seeded(name), seeded(name, activation="relu")
    features = features_for(usual, image_side(name))
    assert torch.equal(usual(features), named(features))


@pytest.mark.parametrize("name", ["wrn16_1", "resnet50"])
def test_every_weight_has_a_gradient_behind_elu(name):
    trunk = seeded(name, activation="elu")
    features = features_for(trunk, image_side(name), batch=3).requires_grad_()
    F.cross_entropy(trunk(features), torch.tensor([0, 2, 1])).backward()
    assert features.grad.any()
    assert all(weight.grad.isfinite().all() for weight in trunk.parameters())


def test_the_functions():
    values = torch.tensor([-2.0, -0.0, 0.5], dtype=torch.float64)
    assert torch.equal(activation_function("relu")(values), torch.tensor([0, 0, 0.5], dtype=torch.float64))
    expected = torch.stack([torch.exp(values[0]) - 1, *values[1:]])
    torch.testing.assert_close(activation_function("elu")(values), expected)
    assert values[0] == -2


@pytest.mark.parametrize("name", PLACES)
def test_another_name_is_refused(name):
    with torch.device("meta"), pytest.raises(ValueError, match=r"^activation=gelu: there are relu, elu$"):
        build_backbone(name, 3, activation="gelu")


@pytest.mark.parametrize("activation", ["relu", "elu"])
@torch.no_grad()
def test_a_network_is_copied_and_pickled_with_it(activation):
    trunk = seeded("wrn16_1", activation=activation).eval()
    features = features_for(trunk, 8)
    for other in (copy.deepcopy(trunk), pickle.loads(pickle.dumps(trunk))):
        assert torch.equal(other(features), trunk(features))
