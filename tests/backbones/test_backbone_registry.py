"""Backbones by name: what each builds, which images it takes, and that every one trains with every encoding."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from grids import in_turn
from p2be_exp.backbones import (
    ImageSizes,
    StemShape,
    WideResNet,
    build_backbone,
    check_image_size,
    image_sizes,
    list_backbones,
    size_advice,
)
from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.errors import BadInput
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.registry import OPTIONS, Option
from usual import P2BE

NAMES = list_backbones()
CIFAR = [name for name in NAMES if name not in ("alexnet", "resnet50")]


@pytest.fixture(scope="module")
def trunks():
    """One trunk a name: AlexNet's 57 million weights take a while to draw."""
    torch.manual_seed(0)
    made = {}

    def trunk(name):
        if name not in made:
            made[name] = build_backbone(name, 3).to(memory_format=torch.channels_last)
        return made[name]

    return trunk


def images(name, batch, more=0):
    size = image_sizes(name).least + more
    return torch.randint(256, (batch, 3, size, size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


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
    assert set(list_backbones()) >= {
        *("wrn40_2", "wrn16_1", "densenet_bc_100_12", "densenet40_12", "densenet40_24", "resnext29_4x32d"),
        *("resnext29_32x4d", "allconv", "resnet18", "resnet50", "alexnet"),
    }
    assert list_backbones() == sorted(list_backbones())


# -- with every encoding -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "encoding"), in_turn([*NAMES], [lambda: P2BE(3), RGB, lambda: OneHot(3), lambda: Thermometer(3)])
)
def test_a_training_step_reaches_every_weight(trunks, name, encoding):
    model = EncodedClassifier(encoding(), trunks(name)).to(memory_format=torch.channels_last).train()
    learns = isinstance(model.encoding, P2BE)
    first = {key: model.get_parameter(key).detach().clone() for key in ("stem.weight", "encoding.weight")[: 1 + learns]}
    optimizer = torch.optim.SGD([*model.stem.parameters(), *model.encoding.parameters()], lr=1e-3)
    # Three images: of two values a batch norm leaves the signs alone, and no gradient.
    loss = F.cross_entropy(model(images(name, 3)), torch.tensor([0, 2, 1]))
    model.zero_grad()
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    for key, value in model.named_parameters():
        assert value.grad.isfinite().all(), key
        assert value.grad.any() or key.endswith("bias"), key  # a batch norm takes away the bias before it
    for key, value in first.items():
        assert not torch.equal(model.get_parameter(key), value), key


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_logits_do_not_depend_on_batch_or_memory_layout(trunks, name):
    model = EncodedClassifier(Thermometer(3), trunks(name)).eval()
    features = model.stem(images(name, 2, more=0 if name == "allconv" else 3), model.encoding.table())
    assert features.is_contiguous(memory_format=torch.channels_last)
    together = model.trunk(features)
    assert together.shape == (2, 3)
    assert together.dtype == torch.float32
    tolerance = {"rtol": 1e-3, "atol": 1e-4 * together.abs().max().item()}
    torch.testing.assert_close(model.trunk(features[1:]), together[1:], **tolerance)
    torch.testing.assert_close(model.trunk(features.contiguous()), together, **tolerance)
    assert not torch.allclose(together[0], together[1], **tolerance)


# -- image sizes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes", "text"),
    [
        ("allconv", ImageSizes(32, 32), "32 x 32"),
        ("alexnet", ImageSizes(63), "63 x 63 or more"),
        ("resnet50", ImageSizes(64), "64 x 64 or more"),
        ("resnet18", ImageSizes(9), "9 x 9 or more"),
        *((name, ImageSizes(8), "8 x 8 or more") for name in CIFAR if name not in ("allconv", "resnet18")),
    ],
)
def test_which_images_a_backbone_takes(name, sizes, text):
    assert image_sizes(name) == sizes
    assert str(sizes) == text
    for size in (sizes.least, sizes.most or 224):
        check_image_size(name, size)
    for size in [sizes.least - 1, *([sizes.most + 1] if sizes.most else [])]:
        with pytest.raises(BadInput) as raised:
            check_image_size(name, size)
        assert str(raised.value).startswith(f"backbone={name}: takes images of {text} pixels, not {size} x {size};")


def test_the_refusal_names_those_that_take_them():
    with pytest.raises(BadInput) as raised:
        check_image_size("alexnet", 32)
    assert str(raised.value).endswith("; 32 x 32 is for " + ", ".join(CIFAR))
    with pytest.raises(BadInput, match=r"; no backbone takes these$"):
        check_image_size("allconv", 4)


def test_a_backbone_that_says_nothing_takes_all(monkeypatch):
    monkeypatch.setitem(OPTIONS["backbone"], "made", Option("BackboneConfig", lambda num_classes: None))
    check_image_size("made", 1)
    check_image_size("made", 5000)


def test_alexnet_cannot_take_less(trunks):
    # 62 pixels: 14, 6 and 2 rows are left for a max-pool of 3.
    model = EncodedClassifier(RGB(), trunks("alexnet")).eval()
    with torch.no_grad(), pytest.raises(RuntimeError, match="too small"):
        model(images("alexnet", 1)[:, :, :62, :62])


def test_a_range_of_sizes():
    sizes = ImageSizes(8, 16)
    assert [sizes.admit(size) for size in (7, 8, 16, 17)] == [False, True, True, False]
    assert str(sizes) == "8 x 8 to 16 x 16"


def test_a_backbone_on_images_of_another_size_than_it_is_made_for():
    for name in list_backbones():
        near, far = (32, 224) if name in CIFAR else (224, 64)
        assert size_advice(name, near) is None
        if image_sizes(name).admit(far):
            assert size_advice(name, far).startswith(f"{name} is made for images of {near} x {near}: ")
    assert size_advice("wrn16_1", 64) is None
    assert size_advice("wrn16_1", 65).endswith("a step at 65 x 65 is the work of 4 such")
    assert size_advice("resnet18", 224) == (
        "resnet18 is made for images of 32 x 32: a step at 224 x 224 is the work of 49 such; "
        "for these there are alexnet, resnet50"
    )
    assert size_advice("resnet50", 112) is None
    assert size_advice("resnet50", 64) == (
        "resnet50 is made for images of 224 x 224: its strides leave little of 64 x 64; "
        "for these there are densenet40_12, densenet40_24, densenet_bc_100_12 and 5 more"
    )
