"""Files of published networks: read out of their wrappers, completed, refused; narrow copies stand for the networks."""

from functools import partial

import pytest
import torch

from p2be_exp.backbones.wide_resnet import WideResNet
from p2be_exp.errors import BadInput
from p2be_exp.models.published.bit_resnet import BiTResNet
from p2be_exp.models.published.networks import RECIPES, Recipe
from p2be_exp.models.published.padded_wide_resnet import PaddedWideResNet
from p2be_exp.models.published.weights import load_published, read_published
from p2be_exp.models.robustbench import NormalisedNetwork, wide_resnet_names

WRN, BIT, TRADES = "wrn70_16_silu", "bit_resnet152x2", "wrn34_10"
CIFAR100 = torch.tensor([0.5071, 0.4865, 0.4409]).view(3, 1, 1)


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    made = {
        WRN: Recipe(partial(PaddedWideResNet, depths=(1, 1, 1), widths=(4, 6, 8)), "logits.bias", RECIPES[WRN].colours),
        BIT: Recipe(
            partial(BiTResNet, units=(1, 1, 1, 1), width=32, resolution=32), "head.conv.bias", RECIPES[BIT].colours
        ),
        TRADES: Recipe(
            lambda classes: NormalisedNetwork(WideResNet(10, 1, classes)),
            "trunk.classifier.bias",
            named=wide_resnet_names,
        ),
    }
    for name, recipe in made.items():
        monkeypatch.setitem(RECIPES, name, recipe)


def weights_of(name, classes=10):
    """A state dict as a training leaves it, without normalisation."""
    torch.manual_seed(0)
    weights = RECIPES[name].build(classes).state_dict()
    return {key: torch.rand_like(value) + 0.1 if value.is_floating_point() else value + 3
            for key, value in weights.items() if key not in ("mean", "std")}  # fmt: skip


def saved(folder, content):
    torch.save(content, folder / "network.pt")
    return folder / "network.pt"


def prefixed(weights, prefix):
    return {f"{prefix}{key}": value for key, value in weights.items()}


@pytest.mark.parametrize(
    ("name", "wrapped"),
    [
        (WRN, lambda w: {"model_state_dict": prefixed(w, "module.0."), "epoch": 3}),  # Wang et al. 2023
        (WRN, lambda w: w),  # DeepMind
        (WRN, lambda w: {key: value.double() for key, value in w.items() if "num_batches" not in key}),
        (BIT, lambda w: {"step": 7, "model": prefixed(w, "module.")}),  # Adaptive Smoothing
        (BIT, lambda w: {**prefixed(w, "module."), "module.mean": torch.full((1, 3, 1, 1), 0.5),
                         "module.std": torch.full((3,), 0.5)}),  # MixedNUTS
    ],
    ids=["model_state_dict and module.0", "plain", "float64, no counts", "model and module", "with mean and std"],
)  # fmt: skip
def test_wrappers_and_prefixes(tmp_path, name, wrapped):
    weights = weights_of(name)
    network = load_published(name, saved(tmp_path, wrapped(weights)))
    assert not network.training
    found = network.state_dict()
    for key, value in weights.items():
        assert found[key].dtype in (torch.float32, torch.int64)
        if value.is_floating_point():
            assert torch.equal(found[key], value), key
    expected = RECIPES[name].build(10)
    expected.load_state_dict({**weights, **RECIPES[name].normalisation(10)})
    pictures = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network(pictures), expected.eval()(pictures))


def test_the_normalisation_is_the_file_s_or_that_of_its_data_set(tmp_path):
    weights = weights_of(WRN, 100)
    torch.testing.assert_close(load_published(WRN, saved(tmp_path, weights)).mean, CIFAR100)
    own = {"mean": torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), "std": torch.ones(3, 1, 1)}
    assert torch.equal(load_published(WRN, saved(tmp_path, {**weights, **own})).mean, own["mean"])


def test_trades_s_names_become_this_package_s(tmp_path):
    ours = weights_of(TRADES)
    theirs = {}
    for key, value in ours.items():
        key = key.replace("stem.", "conv1.").replace("trunk.classifier", "fc").replace("trunk.norm", "bn1")
        key = key.replace("shortcut", "convShortcut").replace("norm1", "bn1").replace("norm2", "bn2")
        for group in range(3):
            key = key.replace(f"trunk.groups.{group}.", f"block{group + 1}.layer.")
        theirs[key] = value
    unused = {"sub_block1.layer.0.conv1.weight": torch.rand(3)}
    found = read_published(TRADES, saved(tmp_path, {"state_dict": {**prefixed(theirs, "module."), **unused}}))
    assert found.keys() == ours.keys()
    assert all(torch.equal(found[key], ours[key]) for key in ours)


def without(name):
    return lambda w: {key: value for key, value in w.items() if key != name}


class _Runs:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("layer.1.block.0.conv_1.weight"),
            r"not the weights of W \(layer.1.block.0.conv_1.weight is missing\)",
        ),
        (without("logits.bias"), r"not the weights of W \(logits.bias is missing\)"),
        (lambda w: {**w, "extra": torch.zeros(2)}, r"not the weights of W \(extra is not one of its names\)"),
        (
            lambda w: {**w, "init_conv.weight": torch.zeros(3, 3, 3, 3)},
            r"not the weights of W \(init_conv.weight is \(3, 3, 3, 3\), not \(16, 3, 3, 3\)\)",
        ),
        (lambda w: {**w, "mean": torch.zeros(3, 1, 1)}, r"not the weights of W \(std is missing\)"),
        (lambda w: {**w, "logits.bias": torch.zeros(7)}, r"7 classes; W was published with 10 \(CIFAR-10\) and 100 "),
        (lambda w: {**w, "logits.bias": torch.full((10,), torch.nan)}, "(?i:.*nan)"),
        (lambda w: weights_of(BIT), r"not the weights of W \(logits.bias is missing\)"),
        (lambda w: {"model": 3}, "not a state dict"),
        (lambda w: {**w, "epoch": _Runs()}, "not a weights-only file"),
    ],
)
def test_another_file_is_refused(tmp_path, capsys, change, message):
    file = saved(tmp_path, change(weights_of(WRN)))
    with pytest.raises(BadInput, match=f"^model.weights={file}: {message.replace('W ', WRN + ' ')}") as no:
        read_published(WRN, file)
    assert "\n" not in str(no.value)
    assert capsys.readouterr().out == ""


def test_no_file_and_another_number_of_classes_are_refused(tmp_path):
    missing = tmp_path / "none.pt"
    with pytest.raises(BadInput, match=f"^weights={missing}: no such file; expected the weights of {WRN}$"):
        load_published(WRN, missing, key="weights")
    file = saved(tmp_path, weights_of(WRN))
    with pytest.raises(BadInput, match=f"^model.weights={file}: 10 classes, but the data set has 100$"):
        read_published(WRN, file, classes=100)
    with pytest.raises(BadInput, match=r"^model.network=wrn: must be one of "):
        read_published("wrn", file)
