"""ResNeXt-29 against torchvision's ResNet with grouped bottlenecks."""

import math

import pytest
import torch
from random_trunks import copy_in_order, randomised, relative_std, stem_features
from torch import nn
from torchvision.models.resnet import Bottleneck, ResNet

from p2be_exp.backbones import build_backbone

GROUPS = {"resnext29_4x32d": (4, 32), "resnext29_32x4d": (32, 4)}


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", GROUPS)
def test_equals_torchvisions(name, train):
    groups, width = GROUPS[name]
    trunk = randomised(build_backbone(name, 7)).train(train)
    other = ResNet(Bottleneck, [3, 3, 3, 1], groups=groups, width_per_group=width)
    other.conv1 = other.maxpool = other.layer4 = nn.Identity()
    other.fc = nn.Linear(1024, 7)
    other = other.double().train(train)
    copy_in_order(trunk, other)
    features = stem_features(trunk, 2, 8)
    torch.testing.assert_close(trunk(features), other(features), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", GROUPS)
def test_initialisation(name):
    # spec/backbones.md: convolutions N(0, 2 / (kh * kw * out_channels)), all output channels with groups too;
    # the classifier N(0, 2 / 1024) in this network alone, its bias 0.
    torch.manual_seed(0)
    trunk = build_backbone(name, 100)
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is None
            std = math.sqrt(2 / (layer.kernel_size[0] ** 2 * layer.out_channels))
            assert relative_std(layer.weight.detach(), std) < 5
    assert relative_std(trunk.classifier.weight.detach(), math.sqrt(2 / 1024)) < 5
    assert (trunk.classifier.bias == 0).all()
