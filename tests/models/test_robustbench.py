"""Files with the names of RobustBench's: the logits are those of a network written down here by these names."""

import pytest
import torch
from torch.nn import functional as F

from p2be_exp.errors import BadInput
from p2be_exp.models.robustbench import list_robustbench, load_robustbench

HALF = torch.full((1, 3, 1, 1), 0.5)


def tensors(shapes, seed=0):
    """Random weights; variances are above 0."""
    generator = torch.Generator().manual_seed(seed)
    found = {name: torch.randn(shape, generator=generator) / 4 for name, shape in shapes.items()}
    return {name: value.abs() + 0.5 if name.endswith("running_var") else value for name, value in found.items()}


def norm(name, channels):
    return {f"{name}.{each}": (channels,) for each in ("weight", "bias", "running_mean", "running_var")}


def wide_resnet(blocks=1, widen=2, classes=10):
    """Names and shapes of a Wide ResNet's file."""
    shapes, width = {"conv1.weight": (16, 3, 3, 3)}, 16
    for group, out in enumerate((16 * widen, 32 * widen, 64 * widen), 1):
        for number in range(blocks):
            layer = f"block{group}.layer.{number}"
            shapes |= {**norm(f"{layer}.bn1", width), f"{layer}.conv1.weight": (out, width, 3, 3)}
            shapes |= {**norm(f"{layer}.bn2", out), f"{layer}.conv2.weight": (out, out, 3, 3)}
            if width != out:
                shapes[f"{layer}.convShortcut.weight"] = (out, width, 1, 1)
            width = out
    return {**shapes, **norm("bn1", width), "fc.weight": (classes, width), "fc.bias": (classes,)}


def resnext(groups=2, width=3, classes=10):
    """Names and shapes of a ResNeXt-29's file."""
    shapes, channels = {"conv_1_3x3.weight": (64, 3, 3, 3), **norm("bn_1", 64)}, 64
    for stage in (1, 2, 3):
        inner, out = groups * width * 2 ** (stage - 1), 128 * 2**stage
        for number in range(3):
            block = f"stage_{stage}.{number}"
            shapes |= {f"{block}.conv_reduce.weight": (inner, channels, 1, 1), **norm(f"{block}.bn_reduce", inner)}
            shapes |= {f"{block}.conv_conv.weight": (inner, inner // groups, 3, 3), **norm(f"{block}.bn", inner)}
            shapes |= {f"{block}.conv_expand.weight": (out, inner, 1, 1), **norm(f"{block}.bn_expand", out)}
            if number == 0:
                shapes |= {f"{block}.downsample.0.weight": (out, channels, 1, 1), **norm(f"{block}.downsample.1", out)}
            channels = out
    return {**shapes, "classifier.weight": (classes, channels), "classifier.bias": (classes,)}


def batch_norm(x, w, name):
    of = (w[f"{name}.{each}"] for each in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, *of)


def wide_resnet_logits(w, x):
    x, blocks = F.conv2d(x, w["conv1.weight"], padding=1), 0
    while f"block1.layer.{blocks}.conv1.weight" in w:
        blocks += 1
    for group in (1, 2, 3):
        for number in range(blocks):
            layer, stride = f"block{group}.layer.{number}", 2 if group > 1 and number == 0 else 1
            active = F.relu(batch_norm(x, w, f"{layer}.bn1"))
            y = F.conv2d(active, w[f"{layer}.conv1.weight"], stride=stride, padding=1)
            y = F.conv2d(F.relu(batch_norm(y, w, f"{layer}.bn2")), w[f"{layer}.conv2.weight"], padding=1)
            shortcut = w.get(f"{layer}.convShortcut.weight")
            x = y + (x if shortcut is None else F.conv2d(active, shortcut, stride=stride))
    x = F.avg_pool2d(F.relu(batch_norm(x, w, "bn1")), 8).flatten(1)
    return F.linear(x, w["fc.weight"], w["fc.bias"])


def resnext_logits(w, x, groups=2):
    x = F.relu(batch_norm(F.conv2d(x, w["conv_1_3x3.weight"], padding=1), w, "bn_1"))
    for stage in (1, 2, 3):
        for number in range(3):
            block, stride = f"stage_{stage}.{number}", 2 if stage > 1 and number == 0 else 1
            y = F.relu(batch_norm(F.conv2d(x, w[f"{block}.conv_reduce.weight"]), w, f"{block}.bn_reduce"))
            y = F.conv2d(y, w[f"{block}.conv_conv.weight"], stride=stride, padding=1, groups=groups)
            y = F.conv2d(F.relu(batch_norm(y, w, f"{block}.bn")), w[f"{block}.conv_expand.weight"])
            if number == 0:
                x = F.conv2d(x, w[f"{block}.downsample.0.weight"], stride=stride)
                x = batch_norm(x, w, f"{block}.downsample.1")
            x = F.relu(x + batch_norm(y, w, f"{block}.bn_expand"))
    return F.linear(F.avg_pool2d(x, 8).flatten(1), w["classifier.weight"], w["classifier.bias"])


def pictures():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def saved(folder, content):
    torch.save(content, folder / "network.pt")
    return folder / "network.pt"


@pytest.mark.parametrize(("blocks", "widen", "classes"), [(1, 2, 10), (2, 1, 100)])
def test_a_wide_resnet(tmp_path, blocks, widen, classes):
    weights = tensors(wide_resnet(blocks, widen, classes))
    network = load_robustbench("Standard", saved(tmp_path, weights))
    assert not network.training
    with torch.no_grad():
        torch.testing.assert_close(network(pictures()), wide_resnet_logits(weights, pictures()))
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_resnext_normalises_its_images(tmp_path):
    weights = tensors(resnext())
    network = load_robustbench("Hendrycks2020AugMix_ResNeXt", saved(tmp_path, weights))
    with torch.no_grad():
        torch.testing.assert_close(network(pictures()), resnext_logits(weights, (pictures() - HALF) / HALF))


def test_the_normalisation_of_the_file_comes_first(tmp_path):
    weights = tensors(wide_resnet())
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(1, 3, 1, 1)
    given = saved(tmp_path, {**weights, "mu": mean, "sigma": std})
    for name in ("Standard", "Hendrycks2020AugMix_WRN"):
        with torch.no_grad():
            found = load_robustbench(name, given)(pictures())
        torch.testing.assert_close(found, wide_resnet_logits(weights, (pictures() - mean) / std))


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda w: {"state_dict": {f"module.{name}": value for name, value in w.items()}, "epoch": 3},
        lambda w: {f"module.model.{name}": value.double() for name, value in w.items()},
        lambda w: {**w, "bn1.num_batches_tracked": torch.tensor(7)},
        lambda w: {**w, **{name.replace("block1", "sub_block1"): w[name] for name in w if "block1" in name}},
    ],
    ids=["state_dict and module", "prefixes and float64", "batches", "the block that is never called"],
)
def test_wrappers_prefixes_and_what_a_file_may_have_beside(tmp_path, wrapped):
    weights = tensors(wide_resnet())
    network = load_robustbench("Carmon2019Unlabeled", saved(tmp_path, wrapped(weights)))
    with torch.no_grad():
        torch.testing.assert_close(network(pictures()), wide_resnet_logits(weights, pictures()))


def test_wrn_28_10_and_the_published_resnext_have_their_sizes(tmp_path):
    empty = {name: torch.zeros(1).expand(shape) for name, shape in wide_resnet(4, 10).items()}  # a file of a few bytes
    network = load_robustbench("Standard", saved(tmp_path, empty))
    assert sum(each.numel() for each in network.parameters()) == 36_479_194  # as its papers count it
    empty = {name: torch.zeros(1).expand(shape) for name, shape in resnext(4, 32).items()}
    network = load_robustbench("Hendrycks2020AugMix_ResNeXt", saved(tmp_path, empty))
    assert (network.trunk.stages[0][0].conv2.groups, network.trunk.stages[0][0].conv2.in_channels) == (4, 128)


def without(name):
    return lambda w: {key: value for key, value in w.items() if key != name}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: {**w, "head.weight": torch.zeros(2)}, r"head.weight is not one of its names"),
        (without("fc.bias"), r"trunk.classifier.bias is missing"),
        (without("block2.layer.0.conv2.weight"), r"trunk.groups.1.0.conv2.weight is missing"),
        (lambda w: {**w, "block3.layer.0.bn1.bias": torch.zeros(3)}, r"trunk.groups.2.0.norm1.bias is \(3,\)"),
        (lambda w: {**w, "mu": torch.zeros(1, 3, 1, 1)}, "std is missing"),
        (lambda w: {**w, "fc.bias": torch.full((10,), torch.nan)}, "nan"),
        (lambda w: {"state_dict": 3}, "not a state dict"),
        (lambda w: [1, 2], "not a state dict"),
        (lambda w: tensors(resnext()), "is not one of its names"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, damage, message):
    file = saved(tmp_path, damage(tensors(wide_resnet())))
    with pytest.raises(BadInput, match=f"(?i){message}") as no:
        load_robustbench("Standard", file)
    assert str(no.value).startswith(f"file={file}: ")
    assert "\n" not in str(no.value)


def test_files_that_are_none_and_unknown_names_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        load_robustbench("Standard", tmp_path / "missing.pt")
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(BadInput, match="not a weights-only file"):
        load_robustbench("Standard", tmp_path / "text.pt")
    with pytest.raises(BadInput, match=r"Standart: not known here; available: .*; did you mean Standard"):
        load_robustbench("Standart", tmp_path / "text.pt")
    assert "Hendrycks2020AugMix_WRN" in list_robustbench()


class _Runs:
    def __reduce__(self):
        return print, ("executed",)


def test_a_file_with_code_in_it_is_refused_and_not_executed(tmp_path, capsys):
    file = saved(tmp_path, {**tensors(wide_resnet()), "epoch": _Runs()})
    with pytest.raises(BadInput, match="not a weights-only file"):
        load_robustbench("Standard", file)
    assert capsys.readouterr().out == ""
