"""ResNet-18 for CIFAR against torchvision's layers; ResNet-50 is torchvision's, behind our stem."""

import builtins
import math
import sys

import pytest
import torch
from random_trunks import copy_in_order, randomised, relative_std, stem_features
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18, resnet50

from p2be_exp.backbones import StemShape, build_backbone
from p2be_exp.encodings import RGB
from p2be_exp.errors import BadInput
from p2be_exp.models.model import EncodedClassifier


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_resnet18_equals_torchvisions_without_max_pool(train):
    trunk = randomised(build_backbone("resnet18", 7)).train(train)
    other = resnet18(weights=None, num_classes=7)
    other.conv1 = other.maxpool = nn.Identity()
    other = other.double().train(train)
    copy_in_order(trunk, other)
    features = stem_features(trunk, 2, 12)
    torch.testing.assert_close(trunk(features), other(features), rtol=1e-9, atol=1e-9)


def test_resnet18s_stem():
    assert build_backbone("resnet18", 10).stem == StemShape(64, kernel_size=3, stride=1, padding=1, bias=False)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_initialisation(name):
    # He et al. 2015, by the output channels: N(0, 2 / (kh * kw * out_channels)), the stem like the rest.
    torch.manual_seed(0)
    model = EncodedClassifier(RGB(), build_backbone(name, 100))
    convolutions = {key: weight for key, weight in model.state_dict().items() if weight.ndim == 4}
    assert len(convolutions) == {"resnet18": 20, "resnet50": 53}[name]
    for key, weight in convolutions.items():
        std = math.sqrt(2 / (weight.shape[2] * weight.shape[3] * weight.shape[0]))
        assert relative_std(weight, std) < 5, key


@torch.no_grad()
def test_resnet50_is_torchvisions_with_our_stem():
    torch.manual_seed(0)
    model = EncodedClassifier(RGB(), build_backbone("resnet50", 7)).eval()
    other = resnet50(weights=None, num_classes=7).eval()
    other.load_state_dict({**model.trunk.network.state_dict(), "conv1.weight": model.stem.weight})
    images = torch.randint(256, (1, 3, 65, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(images), other(images / 255), rtol=1e-4, atol=1e-5)
    plain = F.conv2d(images / 255, model.stem.weight, stride=2, padding=3)
    torch.testing.assert_close(model.stem(images, RGB().table()), plain)


def test_without_torchvision_one_line_says_so_and_the_others_work(monkeypatch):
    genuine = builtins.__import__

    def broken(name, *arguments, **more):
        if name.split(".")[0] == "torchvision":
            raise RuntimeError("operator torchvision::nms\ndoes not exist")
        return genuine(name, *arguments, **more)

    for module in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", broken)
    for name in ("resnet50", "alexnet"):
        with pytest.raises(BadInput, match=f"backbone={name} needs torchvision.*nms does not exist") as raised:
            build_backbone(name, 10)
        assert "\n" not in str(raised.value)
    build_backbone("resnet18", 10)
