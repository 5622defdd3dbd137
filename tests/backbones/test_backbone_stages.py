"""Stages: what they are in each network, that together they are the network, and that nothing was renamed for them."""

import copy
import hashlib

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from p2be_exp.backbones import Backbone, DenseNet, ResNet18, StemShape, build_backbone, list_backbones, staged
from p2be_exp.registry import option
from staged_backbones import STAGED, features_for, image_side, seeded

# Channels of each stage's output and its side in pixels, on images of image_side(NAME).
# wrn: Zagoruyko & Komodakis 2016, table 1: widths of 16k, 32k, 64k at 32, 16, 8. resnet18: He et al. 2016, table 1,
# without the stem's stride and the max-pool; resnet50: the same table at 64 instead of 224 pixels. resnext29: Xie et
# al. 2017, on CIFAR: 256, 512, 1024. densenet: Huang et al. 2017: from 2k channels on a block of l layers adds l k, at
# 32, 16, 8; l is 12, with bottlenecks 16, where a transition leaves half.
OUTPUTS = {
    "wrn16_1": [(16, 32), (32, 16), (64, 8)],
    "wrn40_2": [(32, 32), (64, 16), (128, 8)],
    "resnet18": [(64, 32), (128, 16), (256, 8), (512, 4)],
    "resnet50": [(256, 16), (512, 8), (1024, 4), (2048, 2)],
    "resnext29_32x4d": [(256, 32), (512, 16), (1024, 8)],
    "resnext29_4x32d": [(256, 32), (512, 16), (1024, 8)],
    "densenet40_12": [(168, 32), (312, 16), (456, 8)],
    "densenet40_24": [(336, 32), (624, 16), (912, 8)],
    "densenet_bc_100_12": [(216, 32), (300, 16), (342, 8)],
}

# Entries of the state dict with 7 classes, and the digest of their names, shapes and types, from before there were
# stages: checkpoints are read by them.
KEYS = {
    "alexnet": (14, "11d304b34b328cfd"),
    "allconv": (63, "a42509cf9cf1d12a"),
    "densenet40_12": (235, "e6a9e38bddf802fb"),
    "densenet40_24": (235, "6c658bda5e77b6c7"),
    "densenet_bc_100_12": (595, "9b9f7e6f9cdada81"),
    "resnet18": (121, "dc9daa4dec0640e0"),
    "resnet50": (319, "71a0b08a7131086c"),
    "resnext29_32x4d": (187, "1dc257f5d3d07e91"),
    "resnext29_4x32d": (187, "45774a17886bca32"),
    "wrn16_1": (81, "dd8784236fe6210a"),
    "wrn40_2": (226, "16368fefb6fb2b2c"),
}


def in_one_piece(trunk, features):
    """The network as it is written without stages."""
    if hasattr(trunk, "network"):
        return trunk.network(features)
    if hasattr(trunk, "groups"):
        features = F.relu(trunk.norm(trunk.groups(features)))
    elif isinstance(trunk, DenseNet):
        features = F.relu(trunk.norm(trunk.stages(features)))
    else:
        features = trunk.stages(F.relu(trunk.norm(features)))
    return trunk.classifier(features.mean(dim=(2, 3)))


def by_stages(trunk, features):
    features = trunk.begin(features)
    for stage in trunk.stage_modules():
        features = stage(features)
    return trunk.end(features)


def test_no_backbone_is_left_out():
    assert set(KEYS) == set(list_backbones())
    assert set(OUTPUTS) == set(STAGED)
    assert set(list_backbones()) - set(STAGED) == {"alexnet", "allconv"}


@pytest.mark.parametrize("name", KEYS)
def test_no_key_of_a_checkpoint_has_changed(name):
    with torch.device("meta"):
        state = build_backbone(name, 7).state_dict()
    lines = "".join(f"{key} {tuple(value.shape)} {value.dtype}\n" for key, value in state.items())
    assert (len(state), hashlib.sha256(lines.encode()).hexdigest()[:16]) == KEYS[name]


@pytest.mark.parametrize("name", KEYS)
def test_the_registry_knows_which_have_stages(name):
    assert option("backbone", name).staged == staged(option("backbone", name).factory())


@pytest.mark.parametrize("name", STAGED)
def test_the_stages_are_the_network_to_the_bit(name):
    trunk = seeded(name).train()
    features = features_for(trunk, image_side(name))
    same, whole = copy.deepcopy(trunk), copy.deepcopy(trunk)
    logits = trunk(features)
    assert torch.equal(by_stages(same, features), logits)
    assert torch.equal(in_one_piece(whole, features), logits)
    for key, value in trunk.state_dict().items():  # running statistics, which have moved once
        assert torch.equal(value, same.state_dict()[key]), key
        assert torch.equal(value, whole.state_dict()[key]), key
    for each in (trunk, same, whole):
        each.eval()
    with torch.no_grad():
        logits = trunk(features)
        assert torch.equal(by_stages(same, features), logits)
        assert torch.equal(in_one_piece(whole, features), logits)


@pytest.mark.parametrize("name", STAGED)
@torch.no_grad()
def test_channels_and_sizes_between_the_stages(name):
    trunk = seeded(name).eval()
    given = features_for(trunk, image_side(name))
    stages, found = trunk.stage_modules(), []
    features = trunk.begin(given)
    for stage in stages:
        before = features.clone()
        output = stage(features)
        assert torch.equal(features, before)  # whoever keeps a stage's input keeps its values
        found.append((output.shape[1], *set(output.shape[2:])))
        features = output
    before = features.clone()
    assert trunk.end(features).shape == (2, 7)
    assert torch.equal(features, before)
    assert found == OUTPUTS[name]
    assert torch.equal(given, features_for(trunk, image_side(name)))


@pytest.mark.parametrize("name", STAGED)
def test_every_block_is_in_one_stage(name):
    with torch.device("meta"):
        trunk = build_backbone(name, 7)
        inside = [id(weight) for stage in trunk.stage_modules() for weight in stage.parameters()]
    outside = {key.removeprefix("network.").split(".")[0] for key, weight in trunk.named_parameters()
               if id(weight) not in inside}  # fmt: skip
    assert len(set(inside)) == len(inside)
    assert outside == ({"bn1", "fc"} if name == "resnet50" else {"norm", "classifier"})


def test_a_densenets_stages_start_at_its_transitions():
    trunk = DenseNet(10, 3, True, 0.5, 2)
    kinds = [[type(layer).__name__ for layer in stage] for stage in trunk.stage_modules()]
    assert kinds == [["BottleneckLayer"], ["Transition", "BottleneckLayer"], ["Transition", "BottleneckLayer"]]


class Staged(Backbone):
    """What a plug-in writes."""

    stem = StemShape(out_channels=4)

    def __init__(self, num_classes=3):
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 1), nn.Conv2d(4, num_classes, 1)

    def begin(self, features):
        return features.relu()

    def stage_modules(self):
        return [self.first, self.second]

    def end(self, features):
        return features.amax(dim=(2, 3))


class Whole(Backbone):
    """A plug-in from before there were stages."""

    stem = StemShape(out_channels=4)

    def forward(self, features):
        return features.mean(dim=(2, 3))


class Wrapped(ResNet18):
    """A staged network that computes more than its stages."""

    def forward(self, features):
        return 2 * super().forward(features)


class Half(Whole):
    def begin(self, features):
        return features


def test_a_plug_ins_network_with_stages():
    trunk, features = Staged(), torch.randn(2, 4, 5, 5)
    assert staged(trunk)
    assert staged(Staged)
    assert torch.equal(trunk(features), trunk.second(trunk.first(features.relu())).amax(dim=(2, 3)))


def test_a_forward_of_ones_own_may_call_the_networks():
    trunk, wrapped = ResNet18(3).eval(), Wrapped(3).eval()
    wrapped.load_state_dict(trunk.state_dict())
    features = features_for(trunk, 16)
    assert torch.equal(wrapped(features), 2 * trunk(features))


def test_a_plug_ins_network_without():
    trunk, features = Whole(), torch.randn(2, 4, 5, 5)
    assert not staged(trunk)
    assert torch.equal(trunk(features), features.mean(dim=(2, 3)))
    for method in (trunk.stage_modules, lambda: trunk.begin(features), lambda: trunk.end(features)):
        with pytest.raises(NotImplementedError, match=r"^Whole has no stages: it does not define begin, "):
            method()


@pytest.mark.parametrize("network", [Whole, Half, Wrapped, Backbone], ids=lambda network: network.__name__)
def test_what_has_no_stages(network):
    assert not staged(network)


def test_a_network_that_computes_nothing_says_so():
    with pytest.raises(
        NotImplementedError, match=r"^Backbone has no stages: it does not define begin, stage_modules, end$"
    ):
        Backbone()(torch.zeros(1, 4, 5, 5))


@pytest.mark.parametrize("strict", [False, True], ids=["traced", "strict"])
def test_stages_that_a_call_makes_are_exported(strict):
    trunk = DenseNet(10, 3, False, 1.0, 2).eval()
    features = torch.randn(2, 6, 8, 8)
    program = torch.export.export(trunk, (features,), strict=strict)
    assert set(program.state_dict) == set(trunk.state_dict())
    torch.testing.assert_close(program.module()(features), trunk(features))


def test_stages_that_a_call_makes_are_compiled_in_one_graph():
    torch._dynamo.reset()
    trunk, features = DenseNet(10, 3, False, 1.0, 2).train(), torch.randn(2, 6, 8, 8)
    compiled = torch.compile(copy.deepcopy(trunk), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(features), trunk(features))
