"""Options that need stages are refused by the backbone's name, before PyTorch is imported."""

import subprocess
import sys

import pytest

from p2be_exp.config.stages import check_staged
from p2be_exp.errors import BadInput
from p2be_exp.registry import OPTIONS, staged_backbones


@pytest.mark.parametrize("name", ["allconv", "alexnet"])
def test_the_refusal_names_those_that_have_stages(name):
    with pytest.raises(BadInput) as raised:
        check_staged(name, "regime=tenet")
    assert str(raised.value) == (
        f"backbone={name}: has no stages, which regime=tenet needs; those that have are densenet40_12, densenet40_24, "
        "densenet_bc_100_12, resnet18, resnet50, resnext29_32x4d, resnext29_4x32d, wrn16_1, wrn40_2"
    )


@pytest.mark.parametrize("name", staged_backbones())
def test_a_backbone_with_stages_is_taken(name):
    check_staged(name, "regime=tenet")


def test_a_name_that_is_none():
    with pytest.raises(BadInput, match=r"^backbone=wrn: no such backbone; available: "):
        check_staged("wrn", "regime=tenet")


def test_every_option_says_it_of_a_backbone_alone():
    assert {group for group, options in OPTIONS.items() for each in options.values() if each.staged} == {"backbone"}


def test_it_is_known_without_torch():
    code = "import sys, p2be_exp.config.stages as s; s.check_staged('wrn16_1', 'x'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
