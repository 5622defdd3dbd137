"""Published networks: names, shapes and sizes without memory, and values of narrow copies against functions by name."""

import math

import pytest
import torch
from torch.nn import functional as F

from p2be_exp.backbones.wide_resnet import WideResNet
from p2be_exp.config.published_networks import PUBLISHED_NETWORKS
from p2be_exp.errors import BadInput
from p2be_exp.models.published.bit_resnet import BiTResNet
from p2be_exp.models.published.networks import RECIPES, build_published
from p2be_exp.models.published.padded_wide_resnet import PaddedWideResNet
from p2be_exp.models.robustbench import NormalisedNetwork

MEAN, STD = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1), torch.tensor([0.3, 0.5, 0.7]).view(3, 1, 1)


def images(size=32):
    return torch.rand(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def drawn(network):
    """The network in float64 and eval mode, with every tensor drawn: also what is 0 or 1 at first."""
    generator = torch.Generator().manual_seed(0)
    network = network.double().eval()
    for name, value in network.state_dict().items():
        if value.is_floating_point() and name not in ("mean", "std"):
            noise = torch.randn(value.shape, dtype=value.dtype, generator=generator)
            fan = math.prod(value.shape[1:])
            value.copy_(noise.abs() + 0.5 if "running_var" in name else noise * (fan**-0.5 if fan > 1 else 0.3) + 0.1)
    return network


# -- the literature's networks, written down by the names of their files -----------------------------------------------


def batch_norm(x, w, name):
    mean, var, weight, bias = (w[f"{name}.{each}"] for each in ("running_mean", "running_var", "weight", "bias"))
    scale = weight / torch.sqrt(var + 1e-5)
    return x * scale.view(-1, 1, 1) + (bias - mean * scale).view(-1, 1, 1)


def padded_wide_resnet(x, w, blocks, act):
    """DeepMind's Wide ResNet and Peng et al.'s: the logits and the three groups' outputs."""
    maps, x = [], F.conv2d((x - w["mean"]) / w["std"], w["init_conv.weight"], padding=1)
    for group, count in enumerate(blocks):
        for number in range(count):
            block = f"layer.{group}.block.{number}"
            stride = 2 if group > 0 and number == 0 else 1
            border = [0, 1, 0, 1] if stride == 2 else [1, 1, 1, 1]
            active = act(batch_norm(x, w, f"{block}.batchnorm_0"))
            y = F.conv2d(F.pad(active, border), w[f"{block}.conv_0.weight"], stride=stride)
            y = F.conv2d(act(batch_norm(y, w, f"{block}.batchnorm_1")), w[f"{block}.conv_1.weight"], padding=1)
            if f"{block}.se.fc1.weight" in w:
                means = y.mean((2, 3))
                hidden = torch.relu(means @ w[f"{block}.se.fc1.weight"][..., 0, 0].T + w[f"{block}.se.fc1.bias"])
                gate = torch.sigmoid(hidden @ w[f"{block}.se.fc2.weight"][..., 0, 0].T + w[f"{block}.se.fc2.bias"])
                y = y * gate[:, :, None, None]
            shortcut = w.get(f"{block}.shortcut.weight")
            x = y + (x if shortcut is None else F.conv2d(active, shortcut, stride=stride))
        maps.append(x)
    x = F.avg_pool2d(act(batch_norm(x, w, "batchnorm")), 8).flatten(1)
    return x @ w["logits.weight"].T + w["logits.bias"], maps


def group_norm(x, w, name):
    batch, channels, height, width = x.shape
    grouped = x.reshape(batch, 32, -1)
    grouped = (grouped - grouped.mean(2, keepdim=True)) / torch.sqrt(grouped.var(2, False, keepdim=True) + 1e-5)
    x = grouped.reshape(batch, channels, height, width)
    return torch.relu(x * w[f"{name}.weight"].view(-1, 1, 1) + w[f"{name}.bias"].view(-1, 1, 1))


def standardised(x, weight, stride=1, padding=0):
    rows = weight.flatten(1)
    rows = (rows - rows.mean(1, keepdim=True)) / torch.sqrt(rows.var(1, False, keepdim=True) + 1e-10)
    return F.conv2d(x, rows.reshape(weight.shape), stride=stride, padding=padding)


def bit_resnet(x, w, units, size):
    """Big Transfer's ResNet as Adaptive Smoothing has it: the logits and the four blocks' outputs."""
    x = (F.interpolate(x, (size, size), mode="bilinear", align_corners=False) - w["mean"]) / w["std"]
    x = F.pad(standardised(x, w["root.conv.weight"], 2, 3), [1, 1, 1, 1], value=0.0)
    x, maps = x.unfold(2, 3, 2).unfold(3, 3, 2).amax((-2, -1)), []
    for block, count in enumerate(units, 1):
        for number in range(1, count + 1):
            unit, stride = f"body.block{block}.unit{number:02d}", 2 if block > 1 and number == 1 else 1
            active = group_norm(x, w, f"{unit}.gn1")
            y = standardised(active, w[f"{unit}.conv1.weight"])
            y = standardised(group_norm(y, w, f"{unit}.gn2"), w[f"{unit}.conv2.weight"], stride, 1)
            y = standardised(group_norm(y, w, f"{unit}.gn3"), w[f"{unit}.conv3.weight"])
            down = w.get(f"{unit}.downsample.weight")
            x = y + (x if down is None else standardised(active, down, stride))
        maps.append(x)
    x = group_norm(x, w, "head.gn").mean((2, 3))
    return x @ w["head.conv.weight"][..., 0, 0].T + w["head.conv.bias"], maps


def swish(x):
    return x * torch.sigmoid(x)


# -- values ------------------------------------------------------------------------------------------------------------


def stages_of(network, given):
    """The logits and the maps by the three methods."""
    maps, features = [], network.begin(given)
    for stage in network.stage_modules():
        features = stage(features)
        maps.append(features)
    return network.end(features), maps


def agree(network, given, expected):
    logits, maps = expected
    with torch.no_grad():
        found, between = stages_of(network, given)
        torch.testing.assert_close(network(given), logits, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found, logits, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(between, maps, rtol=1e-9, atol=1e-9)
    assert logits.std() > 1e-3  # or nothing reaches them


@pytest.mark.parametrize(
    ("settings", "act"),
    [
        ({"depths": (2, 1, 2), "widths": (8, 12, 16)}, swish),
        ({"depths": (1, 2, 1), "widths": (6, 8, 12), "activation": F.relu}, torch.relu),
        ({"depths": (1, 2, 2), "widths": (8, 12, 16), "stem": 5, "squeeze": 0.25}, swish),
    ],
    ids=["silu", "relu", "squeeze-and-excitation"],
)
def test_a_narrow_wide_resnet(settings, act):
    network = drawn(PaddedWideResNet(7, MEAN, STD, **settings))
    agree(network, images(), padded_wide_resnet(images(), network.state_dict(), settings["depths"], act))


def test_a_narrow_bit_resnet():
    network = drawn(BiTResNet(7, MEAN, STD, units=(1, 2, 1, 1), width=32, resolution=64))
    agree(network, images(), bit_resnet(images(), network.state_dict(), (1, 2, 1, 1), 64))


def test_a_trunk_of_this_package_has_the_same_maps():
    network = drawn(NormalisedNetwork(WideResNet(10, 1, 7), MEAN.double(), STD.double()))
    logits, maps = stages_of(network, images())
    trunk = network.trunk(network.stem((images() - MEAN) / STD))
    torch.testing.assert_close(logits, trunk, rtol=1e-9, atol=1e-9)
    assert [each.shape[1:] for each in maps] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


# -- names, shapes and sizes -------------------------------------------------------------------------------------------


def without_memory(name, classes=10):
    with torch.device("meta"):
        return build_published(name, classes)


def test_every_network_that_is_listed_is_built_and_has_its_size():
    assert sorted(RECIPES) == sorted(PUBLISHED_NETWORKS)
    for name, listed in PUBLISHED_NETWORKS.items():
        network = without_memory(name, listed.classes[0])
        assert sum(each.numel() for each in network.parameters()) == listed.parameters, name
        assert network.get_parameter(RECIPES[name].head).shape == (listed.classes[0],)


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("bit_resnet152x2", [(512, 32, 32), (1024, 16, 16)]),
        ("wrn34_10", [(160, 32, 32), (320, 16, 16)]),
        ("wrn70_16_silu", [(256, 32, 32), (512, 16, 16)]),
    ],
)
def test_the_maps_that_a_gate_reads(name, maps):
    network = without_memory(name)
    first, second, *_ = network.stage_modules()
    found = first(network.begin(torch.empty(2, 3, 32, 32, device="meta")))
    assert [tuple(each.shape[1:]) for each in (found, second(found))] == maps


def names_of_bit(classes):
    """Names and shapes of a BiT ResNet-152x2's file."""
    shapes, channels = {"root.conv.weight": (128, 3, 7, 7)}, 128
    for block, count in enumerate((3, 8, 36, 3), 1):
        inner, out = 64 * 2**block, 256 * 2**block
        for number in range(1, count + 1):
            unit = f"body.block{block}.unit{number:02d}"
            for norm, width in (("gn1", channels), ("gn2", inner), ("gn3", inner)):
                shapes |= {f"{unit}.{norm}.weight": (width,), f"{unit}.{norm}.bias": (width,)}
            shapes |= {f"{unit}.conv1.weight": (inner, channels, 1, 1), f"{unit}.conv2.weight": (inner, inner, 3, 3)}
            shapes[f"{unit}.conv3.weight"] = (out, inner, 1, 1)
            if number == 1:
                shapes[f"{unit}.downsample.weight"] = (out, channels, 1, 1)
            channels = out
    shapes |= {"head.gn.weight": (4096,), "head.gn.bias": (4096,)}
    return shapes | {"head.conv.weight": (classes, 4096, 1, 1), "head.conv.bias": (classes,)}


def names_of_wide_resnet(classes, stem, depths, widths, squeeze=None):
    """Names and shapes of the file of a padded Wide ResNet."""

    def norm(name, width):
        return {f"{name}.{each}": (width,) for each in ("weight", "bias", "running_mean", "running_var")} | {
            f"{name}.num_batches_tracked": ()
        }

    shapes, width = {"init_conv.weight": (stem, 3, 3, 3)}, stem
    for group, (count, out) in enumerate(zip(depths, widths, strict=True)):
        for number in range(count):
            block = f"layer.{group}.block.{number}"
            shapes |= norm(f"{block}.batchnorm_0", width) | norm(f"{block}.batchnorm_1", out)
            shapes |= {f"{block}.conv_0.weight": (out, width, 3, 3), f"{block}.conv_1.weight": (out, out, 3, 3)}
            if number == 0:
                shapes[f"{block}.shortcut.weight"] = (out, width, 1, 1)
            if squeeze:
                inner = squeeze[group]
                shapes |= {f"{block}.se.fc1.weight": (inner, out, 1, 1), f"{block}.se.fc1.bias": (inner,)}
                shapes |= {f"{block}.se.fc2.weight": (out, inner, 1, 1), f"{block}.se.fc2.bias": (out,)}
            width = out
    return shapes | norm("batchnorm", width) | {"logits.weight": (classes, width), "logits.bias": (classes,)}


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("bit_resnet152x2", 100, names_of_bit(100)),
        ("wrn70_16_silu", 100, names_of_wide_resnet(100, 16, (11, 11, 11), (256, 512, 1024))),
        ("ra_wrn70_16", 10, names_of_wide_resnet(10, 96, (30, 31, 10), (216, 432, 864), (54, 108, 216))),
    ],
)
def test_names_and_shapes_are_those_of_the_published_files(name, classes, expected):
    found = {key: tuple(value.shape) for key, value in without_memory(name, classes).state_dict().items()}
    assert found == {**expected, "mean": (3, 1, 1), "std": (3, 1, 1)}


def test_the_data_set_s_colours_are_normalised_by():
    with torch.device("cpu"):
        assert RECIPES["wrn70_16_silu"].normalisation(100)["mean"].flatten().tolist() == pytest.approx(
            [0.5071, 0.4865, 0.4409]
        )
        assert RECIPES["bit_resnet152x2"].normalisation(10)["std"].flatten().tolist() == [0.5, 0.5, 0.5]
    assert RECIPES["wrn34_10"].normalisation(10) == {}


def test_networks_and_classes_that_were_not_published_are_refused():
    with pytest.raises(BadInput, match=r"^model.network=ra_wrn70_16: 100 classes; ra_wrn70_16 was published with 1"):
        build_published("ra_wrn70_16", 100)
    with pytest.raises(
        BadInput, match=r"^model.network=wrn70_16_silo: must be one of .*; did you mean wrn70_16_silu\?$"
    ):
        build_published("wrn70_16_silo", 10)
