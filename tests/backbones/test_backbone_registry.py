"""Backbones by name."""

import pytest
from torch import nn

from p2be_exp.backbones import StemShape, WideResNet, build_backbone, list_backbones


@pytest.mark.parametrize(
    ("name", "convolutions", "features"), [("wrn40_2", 3 * 12 + 3, 128), ("wrn16_1", 3 * 4 + 2, 64)]
)
def test_what_a_name_builds(name, convolutions, features):
    # 6n + 4 layers: 6n convolutions in blocks, shortcuts where the width changes (16-16-32-64: twice; 16-32-64-128).
    backbone = build_backbone(name, num_classes=7)
    assert isinstance(backbone, WideResNet)
    assert sum(isinstance(module, nn.Conv2d) for module in backbone.modules()) == convolutions
    assert (backbone.classifier.in_features, backbone.classifier.out_features) == (features, 7)
    assert backbone.stem == StemShape(out_channels=16, kernel_size=3, stride=1, padding=1)


def test_names():
    assert {"wrn40_2", "wrn16_1"} <= set(list_backbones())
    assert list_backbones() == sorted(list_backbones())
