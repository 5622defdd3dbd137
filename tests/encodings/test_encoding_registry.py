"""Encodings by name, as the configuration describes them."""

import pytest
import torch

from p2be_exp import encodings
from p2be_exp.config import training_config
from p2be_exp.config.schema import EncodingConfig
from p2be_exp.encodings import RGB, OneHot, Thermometer, build_encoding, list_encodings
from p2be_exp.encodings.smoothness import smoothness_mean, smoothness_sum
from usual import P2BE

CLASSES = {"rgb": RGB, "onehot": OneHot, "thermometer": Thermometer, "p2be": encodings.P2BE}


def group(*overrides: str) -> EncodingConfig:
    return training_config(overrides).encoding


def test_names():
    assert list_encodings() == sorted(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_the_group_of_a_name_builds_its_class(name):
    encoding = build_encoding(group(f"encoding={name}"))
    assert type(encoding) is CLASSES[name]
    assert encoding.table().shape == (256, 1 if name == "rgb" else 64)


@pytest.mark.parametrize("name", ["onehot", "thermometer", "p2be"])
def test_m(name):
    assert build_encoding(group(f"encoding={name}", "encoding.M=16")).table().shape == (256, 16)


@pytest.mark.parametrize(
    ("preset", "slope", "smoothness"), [("official", 2.0, smoothness_mean), ("paper", 1.0, smoothness_sum)]
)
def test_what_a_preset_makes_of_p2be(preset, slope, smoothness):
    encoding = build_encoding(group("encoding=p2be", f"preset={preset}"))
    assert encoding.smoothness().item() == smoothness(encoding.weight).item()
    encoding.weight.data.zero_()
    encoding.table().sum().backward()
    assert (encoding.weight.grad == slope).all()
    assert encoding.weight.requires_grad


def test_initialisation_and_a_table_from_elsewhere():
    built = build_encoding(group("encoding=p2be", "encoding.init=thermometer", "encoding.table_from=some/run"))
    assert not built.weight.requires_grad
    assert torch.equal(built.weight, P2BE(64, init="thermometer").weight)
