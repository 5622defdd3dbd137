"""AllConv against a plain transcription of spec/backbones.md; its dropout is tested in test_dropout.py."""

import math

import pytest
import torch
from random_trunks import randomised, relative_std, stem_features
from torch import nn
from torch.nn import functional as F

from p2be_exp.backbones import StemShape, build_backbone
from p2be_exp.backbones.dropout import ImageDropout
from p2be_exp.encodings import OneHot
from p2be_exp.models.model import EncodedClassifier

PLAN = ["3", "3", "M", "3", "3", "3", "M", "nopad", "1", "1"]


def plain_trunk(features, weights, train):
    """The first batch norm and activation are the stem's; dropout is left out."""
    values = iter(weights.values())

    def norm_and_gate(features):
        weight, bias, mean, variance, _ = (next(values) for _ in range(5))
        features = F.batch_norm(features, mean.clone(), variance.clone(), weight, bias, training=train)
        return features / (1 + torch.exp(-1.702 * features))

    features = norm_and_gate(features)
    sizes = []
    for layer in PLAN:
        if layer == "M":
            features = F.max_pool2d(features, 2, 2)
        else:
            weight, bias = next(values), next(values)
            features = norm_and_gate(F.conv2d(features, weight, bias, padding=0 if layer == "nopad" else 1))
        sizes.append(features.shape[-1])
    assert sizes == [32, 32, 16, 16, 16, 16, 8, 6, 8, 10]
    features = F.avg_pool2d(features, kernel_size=8)
    assert features.shape[2:] == (1, 1)
    logits = F.linear(features.flatten(1), next(values), next(values))
    assert next(values, None) is None
    return logits


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_forward(train):
    trunk = randomised(build_backbone("allconv", 7)).train(train)
    for layer in trunk.modules():
        if isinstance(layer, ImageDropout):
            layer.eval()
    weights = {key: value.clone() for key, value in trunk.state_dict().items()}
    features = stem_features(trunk, 2, 32)
    torch.testing.assert_close(trunk(features), plain_trunk(features, weights, train), rtol=1e-9, atol=1e-9)


def test_where_dropout_stands():
    trunk = build_backbone("allconv", 7)
    layers = list(trunk.layers)
    after = [type(layers[place - 1]) for place, layer in enumerate(layers) if isinstance(layer, ImageDropout)]
    assert after == [nn.MaxPool2d, nn.MaxPool2d]
    assert {layer.p for layer in layers if isinstance(layer, ImageDropout)} == {0.5}


def test_initialisation():
    # spec/backbones.md: weights N(0, 2 / (kh * kw * out_channels)), convolutions' biases PyTorch's, linear bias 0.
    torch.manual_seed(0)
    trunk = build_backbone("allconv", 100)
    assert trunk.stem == StemShape(96, kernel_size=3, stride=1, padding=1, bias=True)
    stem = EncodedClassifier(OneHot(8), trunk).stem
    convolutions = [layer for layer in trunk.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 8
    for layer in [stem, *convolutions]:
        weight, bias = layer.weight.detach(), layer.bias.detach()
        assert relative_std(weight, math.sqrt(2 / (weight.shape[2] ** 2 * weight.shape[0]))) < 5
        assert 0.9 < bias.abs().max().item() * math.sqrt(weight[0].numel()) <= 1
        assert bias.unique().numel() == len(bias)
    assert (trunk.classifier.bias == 0).all()
