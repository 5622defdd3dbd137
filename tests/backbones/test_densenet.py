"""DenseNets against torchvision's class where it can be configured alike, and against a plain transcription."""

import math

import pytest
import torch
from random_trunks import copy_in_order, randomised, relative_std, stem_features
from torch import nn
from torch.nn import functional as F
from torchvision.models import DenseNet as TorchvisionDenseNet

from p2be_exp.backbones import DenseNet, build_backbone

TRAIN = pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])


@TRAIN
@pytest.mark.parametrize(("name", "blocks", "growth"), [("densenet_bc_100_12", 16, 12), (None, 2, 5)])
def test_bottlenecks_equal_torchvisions(name, blocks, growth, train):
    trunk = build_backbone(name, 7) if name else DenseNet(6 * blocks + 4, growth, True, 0.5, 7)
    trunk = randomised(trunk).train(train)
    other = TorchvisionDenseNet(growth, (blocks,) * 3, num_init_features=2 * growth, bn_size=4, num_classes=7)
    for layer in ("conv0", "norm0", "relu0", "pool0"):
        setattr(other.features, layer, nn.Identity())
    other = other.double().train(train)
    copy_in_order(trunk, other)
    features = stem_features(trunk, 2, 8)
    torch.testing.assert_close(trunk(features), other(features), rtol=1e-9, atol=1e-9)


def plain_trunk(features, weights, layers, train):
    """spec/backbones.md: BN-ReLU-conv3x3 concatenated; two transitions BN-ReLU-1x1-avgpool2; BN-ReLU-pool-fc."""
    values = iter(weights.values())

    def norm_relu(features):
        weight, bias, mean, variance, _ = (next(values) for _ in range(5))
        return F.batch_norm(features, mean.clone(), variance.clone(), weight, bias, training=train).relu()

    for block in range(3):
        for _ in range(layers):
            new = F.conv2d(norm_relu(features), next(values), padding=1)
            features = torch.cat((features, new), 1)
        if block < 2:
            features = F.conv2d(norm_relu(features), next(values))
            features = F.avg_pool2d(features, 2)
    features = norm_relu(features)
    features = F.avg_pool2d(features, features.shape[-1]).flatten(1)
    logits = F.linear(features, next(values), next(values))
    assert next(values, None) is None
    return logits


@TRAIN
@pytest.mark.parametrize("name", ["densenet40_12", "densenet40_24"])
def test_without_bottlenecks(name, train):
    trunk = randomised(build_backbone(name, 7)).train(train)
    weights = {key: value.clone() for key, value in trunk.state_dict().items()}
    features = stem_features(trunk, 2, 8)
    torch.testing.assert_close(trunk(features), plain_trunk(features, weights, 12, train), rtol=1e-9, atol=1e-9)


def test_a_reduction_is_rounded_down():
    # 2 * 3 channels and a layer of 3 make 9; half of that is 4; and a layer of 3 makes 7, half of which is 3.
    trunk = DenseNet(10, 3, True, 0.5, 2)
    assert [layer.conv.out_channels for layer in trunk.stages if hasattr(layer, "conv")] == [4, 3]


@pytest.mark.parametrize("name", ["densenet_bc_100_12", "densenet40_12", "densenet40_24"])
def test_initialisation(name):
    # spec/backbones.md: convolutions N(0, 2 / (kh * kw * out_channels)), linear bias 0.
    torch.manual_seed(0)
    trunk = build_backbone(name, 100)
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is None
            std = math.sqrt(2 / (layer.kernel_size[0] ** 2 * layer.out_channels))
            assert relative_std(layer.weight.detach(), std) < 5
    assert (trunk.classifier.bias == 0).all()
    assert 0.95 < trunk.classifier.weight.abs().max().item() * math.sqrt(trunk.classifier.in_features) <= 1


@pytest.mark.parametrize(("depth", "bottleneck"), [(101, True), (43, True), (41, False)])
def test_a_depth_that_does_not_divide_is_refused(depth, bottleneck):
    with pytest.raises(ValueError, match=f"depth={depth}"):
        DenseNet(depth, 12, bottleneck, 1.0, 10)
