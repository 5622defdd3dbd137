"""Numbers of parameters against the reference's own models and torchvision's."""

import pytest
import torch

from p2be_exp.backbones import build_backbone, list_backbones
from p2be_exp.encodings import RGB, OneHot
from p2be_exp.models.model import EncodedClassifier
from usual import P2BE


def count(name, encoding, num_classes):
    model = EncodedClassifier(encoding, build_backbone(name, num_classes))
    return sum(parameter.numel() for parameter in model.parameters())


# spec/backbones.md, with 10 classes RGB and 3M = 192, with 100 classes RGB and 3M = 192: closed form, and counted in
# the reference implementation's models. resnet18: He et al.'s layers added up by hand, as CIFAR code quotes it.
REFERENCE = {
    "wrn40_2": (2_243_546, 2_270_762, 2_255_156, 2_282_372),
    "densenet40_12": (1_059_298, 1_100_122, 1_100_428, 1_141_252),
    "densenet40_24": (4_189_306, 4_270_954, 4_271_476, 4_353_124),
    "densenet_bc_100_12": (769_162, 809_986, 800_032, 840_856),
    "resnext29_4x32d": (6_807_882, 6_916_746, 6_900_132, 7_008_996),
    "resnext29_32x4d": (4_775_754, 4_884_618, 4_868_004, 4_976_868),
    "allconv": (1_409_674, 1_572_970, 1_427_044, 1_590_340),
    "resnet18": (11_173_962, 11_173_962 + 64 * 9 * 189, 11_220_132, 11_220_132 + 64 * 9 * 189),
    # torchvision's documented 25,557,032 and 61,100,840 have 1000 classes and RGB.
    "resnet50": tuple(
        25_557_032 - (1000 - classes) * 2049 + 64 * 49 * more for classes in (10, 100) for more in (0, 189)
    ),
    "alexnet": tuple(
        61_100_840 - (1000 - classes) * 4097 + 64 * 121 * more for classes in (10, 100) for more in (0, 189)
    ),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_number_of_parameters(name):
    with torch.device("meta"):
        found = tuple(count(name, encoding, classes) for classes in (10, 100) for encoding in (RGB(), OneHot(64)))
    assert found == REFERENCE[name]


# The same source: what a P2BE model with M = 64 shows, its table of 256 * 64 included.
@pytest.mark.parametrize(
    ("name", "ten", "hundred"),
    [
        ("wrn40_2", 2_287_146, 2_298_756),
        ("densenet40_12", 1_116_506, 1_157_636),
        ("resnext29_4x32d", 6_933_130, 7_025_380),
    ],
)
def test_number_of_parameters_with_the_table(name, ten, hundred):
    with torch.device("meta"):
        assert [count(name, P2BE(64), classes) for classes in (10, 100)] == [ten, hundred]


def test_no_backbone_is_uncounted():
    assert set(list_backbones()) - set(REFERENCE) == {"wrn16_1"}  # for tests and a first run
