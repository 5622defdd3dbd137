"""Channels and sizes of the stages, found by one image."""

import pytest
import torch

from p2be_exp.backbones import ResNet18
from p2be_exp.backbones.stage_shapes import StageShape, probed_shapes, stage_shapes
from p2be_exp.errors import BadInput
from small_pyramids import Small
from staged_backbones import STAGED, seeded


def test_of_a_network_written_by_hand():
    assert stage_shapes(Small(), 32) == [(6, 16), (8, 8)]
    assert stage_shapes(ResNet18(3), 9) == [(64, 9), (128, 5), (256, 3), (512, 2)]
    assert stage_shapes(Small(), 9)[0] == StageShape(channels=6, side=5)


@pytest.mark.parametrize("name", STAGED)
def test_how_often_the_first_stage_halves(name):
    shapes, halvings = probed_shapes(seeded(name))
    assert halvings == (2 if name == "resnet50" else 0)
    assert [each.side for each in shapes] == sorted((each.side for each in shapes), reverse=True)


def test_the_network_stays_as_it_is():
    trunk = Small(norms=True).train()
    trunk.norms[1].eval()
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    assert probed_shapes(trunk)[1] == 1
    assert trunk.training
    assert all(torch.equal(value, before[key]) for key, value in trunk.state_dict().items())
    with torch.device("meta"):
        assert probed_shapes(Small())[1] == 1


def test_sides_that_are_not_halved():
    class Cut(Small):
        def begin(self, features):
            return features[:, :, 1:]

    with pytest.raises(BadInput, match=r"of images of 32 x 32 the first stage of Cut gives maps of 15 x 15; must be"):
        probed_shapes(Cut())
