"""AlexNet is torchvision's, behind our stem; only its dropouts are the project's."""

import math

import torch
from torch import nn
from torchvision.models import alexnet

from p2be_exp.backbones import build_backbone
from p2be_exp.backbones.dropout import ImageDropout
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.models.model import EncodedClassifier


@torch.no_grad()
def test_is_torchvisions_with_our_stem():
    torch.manual_seed(0)
    model = EncodedClassifier(RGB(), build_backbone("alexnet", 7)).eval()
    with torch.device("meta"):
        other = alexnet(weights=None, num_classes=7).eval()
    stem = {f"features.0.{name}": value for name, value in model.stem.state_dict().items()}
    other.load_state_dict({**model.trunk.network.state_dict(), **stem}, assign=True)
    images = torch.randint(256, (2, 3, 63, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(images), other(images / 255), rtol=1e-4, atol=1e-5)
    assert model(images).std(dim=0).min() > 1e-5


def test_its_dropouts_are_ours():
    with torch.device("meta"):
        layers = list(build_backbone("alexnet", 7).modules())
        theirs = [layer.p for layer in alexnet(weights=None).modules() if isinstance(layer, nn.Dropout)]
    assert not any(isinstance(layer, nn.Dropout) for layer in layers)
    assert [layer.p for layer in layers if isinstance(layer, ImageDropout)] == theirs == [0.5, 0.5]


def test_the_stem_starts_as_pytorchs_convolution_does():
    # Uniform within 1 / sqrt(3M * 11 * 11), weight and bias.
    torch.manual_seed(0)
    with torch.device("meta"):
        trunk = build_backbone("alexnet", 7)
    stem = EncodedClassifier(Thermometer(4), trunk).stem
    for values in (stem.weight.detach(), stem.bias.detach()):
        assert 0.9 < values.abs().max().item() * math.sqrt(12 * 121) <= 1
    assert abs(stem.weight.std().item() * math.sqrt(3 * 12 * 121) - 1) < 0.01


def test_the_features_are_left_as_they_are():
    # An attack takes the gradient at the stem's output, which its first ReLU must not overwrite.
    with torch.device("meta"):
        trunk = build_backbone("alexnet", 7)
    features = torch.randn(1, 64, 15, 15)
    before = features.clone()
    trunk.network.features[:2](features)
    assert torch.equal(features, before)
